// Package crust adds the crust to a pizza.
package crust

import "github.com/pizzamill/pizzamill/platform/stage"

// Stage picks the crust from the menu.
var Stage = stage.FromMenu("crust",
	"classic",
	"thin",
	"stuffed",
	"sesame",
	"sourdough",
	"wholegrain",
	"garlic butter",
	"deep dish",
)
