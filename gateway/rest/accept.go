package rest

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// accepted is the kind of content, of those that are offered, that a caller likes best: the first of equal ones, also for whoever
// does not say. It is empty when the caller likes none (RFC 9110, 12.5.1).
func accepted(r *http.Request, offers ...string) string {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if header == "" || len(header) > maxAccept {
		return offers[0]
	}
	best, liking := "", 0.0
	for _, offer := range offers {
		if q := quality(header, offer); q > liking {
			best, liking = offer, q
		}
	}
	return best
}

const maxAccept = 4 << 10 // bytes of what callers say

// quality is how much an Accept header likes a kind of content, 0 to 1, by the most specific of its entries that fits.
func quality(header, offer string) (q float64) {
	fits := -1
	kind, _, _ := strings.Cut(offer, "/")
	for entry := range strings.SplitSeq(header, ",") {
		wanted, parameters, err := mime.ParseMediaType(entry)
		if err != nil {
			continue
		}
		specific := -1
		switch wanted {
		case offer:
			specific = 2
		case kind + "/*":
			specific = 1
		case "*/*":
			specific = 0
		}
		if specific <= fits {
			continue
		}
		fits, q = specific, 1
		if text, ok := parameters["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) {
				q = 0
			}
		}
	}
	return q
}
