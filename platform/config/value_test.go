package config_test

import (
	"testing"

	"github.com/pizzamill/pizzamill/platform/config"
)

// Commas alone once were two modules without a name.
func TestCommasAloneAreAnEmptyList(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, list := range []string{",", ",,", " , "} {
		for name, want := range map[string]string{
			"PIZZAMILL_APP_MODULES":       "the list is empty: want all, or names of modules",
			"PIZZAMILL_PIPELINE_STAGES":   "the list is empty: a pipeline needs at least one stage",
			"PIZZAMILL_KAFKA_BROKERS":     "the list is empty: want at least one broker, such as 127.0.0.1:9092",
			"PIZZAMILL_PIPELINE_EXTERNAL": "",
		} {
			_, err := config.Load(config.Source{Env: []string{name + "=" + list}, Known: known})
			switch {
			case want == "" && err != nil:
				t.Errorf("%s=%q: %v", name, list, err)
			case want != "" && (err == nil || err.Error() != name+": "+want):
				t.Errorf("%s=%q: got %v, want %s", name, list, err, want)
			}
		}
	}
}
