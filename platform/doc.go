// Package platform is what modules stand on; it imports none of them. This
// page is the map: the path of a pizza, and the six files it passes.
//
//	browser, curl, command line                                         browser
//	     │ POST /api/orders, or the form                                   ▲ server-sent events
//	     ▼                                                                 │
//	┌───────────┐ one row     ┌──────────┐     Advance, in batches   ┌───────────┐
//	│ 1 ui, api │────────────▶│ 2 ledger │◀──────────────────────────│ 5 journal │◀─ every topic
//	└───────────┘             └────┬─────┘◀────────────┐             └───────────┘
//	                               │ not yet           │ finished
//	                               ▼ dispatched        │
//	                          ┌─────────┐         ┌─────────┐
//	                          │ 3 relay │         │ 6 pizza │◀──────────── pizza-with-veggies
//	                          └────┬────┘         └─────────┘                      ▲
//	                               ▼                                               │
//	                             pizza ─▶ 4 sauce ─▶ pizza-with-sauce ─▶ … ─▶ 4 veggies
//	                                         └──▶ pizza-dead-letters ─▶ deadletter ─▶ ledger
//
// What nobody ordered, `pizza` too sends to pizza-dead-letters.
//
// The files, in the order in which a pizza passes them:
//
//  1. platform/api/orders.go takes the order (ui/form.go where a browser sends
//     the form). Nothing is published here.
//  2. platform/store/orders.go commits it as one row: from then on its pizzas
//     exist, and the answer is 202.
//  3. modules/pizza/relay.go puts their numbers on the topic pizza, in fair
//     turns and with a bound on what is in flight.
//  4. platform/stage/stage.go adds an ingredient, once per stage. What it adds is
//     a menu in modules/sauce/sauce.go and its likes; what makes a second
//     delivery harmless is the middleware in platform/stage/chain.go.
//  5. modules/journal/journal.go writes each event of each topic to the ledger,
//     from which browsers are told.
//  6. modules/pizza/pizza.go stores the finished pizza.
//
// Any module may run in a process of its own, and any process in several: what
// crosses the arrows between them is the bus, and nothing here knows which.
//
// The other packages are what those stand on: event has the pipeline, the
// identities and the JSON body; bus and store are the seams to what carries
// messages (gochannel in memory, kafka, amqp) and what keeps the truth (sqlite,
// postgres); bus/lane hands out what a broker delivers, a key at a time; module
// says what can be selected; app puts a process together and is the only one
// that knows the adapters.
package platform
