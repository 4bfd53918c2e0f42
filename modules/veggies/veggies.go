// Package veggies adds the veggies to a pizza.
package veggies

import "github.com/pizzamill/pizzamill/platform/stage"

// Stage picks the veggies from the menu.
var Stage = stage.FromMenu("veggies",
	"mushrooms",
	"black olives",
	"red onion",
	"bell peppers",
	"basil",
	"rocket",
	"cherry tomatoes",
	"artichokes",
	"pineapple",
	"jalapeños",
	"zucchini",
	"sweetcorn",
)
