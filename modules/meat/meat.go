// Package meat adds the meat to a pizza.
package meat

import "github.com/pizzamill/pizzamill/platform/stage"

// Stage picks the meat from the menu.
var Stage = stage.FromMenu("meat",
	"pepperoni",
	"salami",
	"prosciutto",
	"sausage",
	"ham",
	"bacon",
	"anchovies",
	"chicken",
	"'nduja",
	"meatballs",
)
