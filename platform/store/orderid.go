package store

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"
)

// crockford is Crockford's base 32 in lower case: ascending in ASCII, so that
// IDs sort as their numbers do, and without letters that read like digits.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// IsOrderID reports whether s has the form of the IDs that orders get, which is
// narrower than what the contract of events allows (event.ValidOrderID).
func IsOrderID(s string) bool {
	return len(s) == orderIDLength && strings.Trim(s, crockford) == ""
}

const orderIDLength = 16

// orderIDs makes order IDs: 48 bits of milliseconds and 32 of chance, as 16
// characters. They strictly increase, also within a millisecond and when the
// clock steps back. It is not safe for concurrent use.
type orderIDs struct {
	now    func() time.Time
	random io.Reader
	ms     uint64
	low    uint64
}

func (g *orderIDs) next() (string, error) {
	ms := uint64(g.now().UnixMilli()) & (1<<48 - 1)
	if ms > g.ms {
		var b [4]byte
		if _, err := io.ReadFull(g.random, b[:]); err != nil {
			return "", fmt.Errorf("make order ID: read randomness: %w", err)
		}
		g.ms, g.low = ms, uint64(binary.BigEndian.Uint32(b[:]))
	} else if g.low++; g.low >= 1<<32 {
		g.ms, g.low = g.ms+1, 0
	}
	var id [orderIDLength]byte
	hi, lo := g.ms>>8, g.ms<<32|g.low // 40 bits each, the low ones of lo
	for i := range 8 {
		shift := 35 - 5*i
		id[i] = crockford[hi>>shift&31]
		id[8+i] = crockford[lo>>shift&31]
	}
	return string(id[:]), nil
}
