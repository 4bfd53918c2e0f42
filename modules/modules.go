// Package modules lists what pizzamill is made of.
package modules

import (
	"github.com/pizzamill/pizzamill/modules/cheese"
	"github.com/pizzamill/pizzamill/modules/crust"
	"github.com/pizzamill/pizzamill/modules/deadletter"
	"github.com/pizzamill/pizzamill/modules/journal"
	"github.com/pizzamill/pizzamill/modules/meat"
	"github.com/pizzamill/pizzamill/modules/pizza"
	"github.com/pizzamill/pizzamill/modules/sauce"
	"github.com/pizzamill/pizzamill/modules/veggies"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/stage"
)

// All returns every module but the pages. A stage runs if the pipeline names
// it: adding one is a line here and a word in [pipeline] stages.
func All() []module.Module {
	return []module.Module{
		pizza.Module,
		stage.Module(crust.Stage),
		stage.Module(sauce.Stage),
		stage.Module(cheese.Stage),
		stage.Module(meat.Stage),
		stage.Module(veggies.Stage),
		journal.Module,
		deadletter.Module,
	}
}
