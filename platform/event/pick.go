package event

// Pick chooses from a menu. The choice is a function of the pizza's ID and the
// stage's name, never of chance: processing an event twice gives the same
// pizza, every deployment bakes the identical one, and any can be made again.
// It is still random, because every order ID is new. An empty menu gives "".
func (p Pizza) Pick(stage string, menu []string) string {
	if len(menu) == 0 {
		return ""
	}
	return menu[p.Chance(stage)%uint64(len(menu))]
}

// Chance returns 64 evenly spread bits that follow from the pizza's ID and a
// name: the source of everything random about a pizza.
func (p Pizza) Chance(name string) uint64 {
	return spread(p.text, "/", name)
}

// spread hashes text to evenly spread bits. It must never change: what it gives
// is which pizzas are baked.
func spread(parts ...string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a, 64 bit
	h := uint64(offset)
	for _, s := range parts {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
	}
	// FNV leaves neighbouring IDs alike; the finaliser of MurmurHash3 spreads them.
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
