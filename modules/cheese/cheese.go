// Package cheese adds the cheese to a pizza.
package cheese

import "github.com/pizzamill/pizzamill/platform/stage"

// Stage picks the cheese from the menu.
var Stage = stage.FromMenu("cheese",
	"mozzarella",
	"goat cheese",
	"gorgonzola",
	"parmesan",
	"ricotta",
	"provolone",
	"cheddar",
	"burrata",
)
