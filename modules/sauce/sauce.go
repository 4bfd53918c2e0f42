// Package sauce adds the sauce to a pizza.
package sauce

import "github.com/pizzamill/pizzamill/platform/stage"

// Stage picks the sauce from the menu.
var Stage = stage.FromMenu("sauce",
	"tomato",
	"marinara",
	"arrabbiata",
	"alfredo",
	"pesto",
	"barbecue",
	"garlic oil",
	"pumpkin cream",
)
