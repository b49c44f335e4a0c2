package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"regexp"
)

// tokenText is what every token looks like: 32 random bytes, behind what lets programs that look for leaked secrets know it.
var tokenText = regexp.MustCompile(`^sf_[A-Za-z0-9_-]{43}$`)

const tokenPrefix = "sf_"

// NewToken makes a token.
func NewToken() string {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails: it ends the program
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
}

// Sum is what the file has of a token.
func Sum(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// find is the caller with a token of this sum. All are compared, each in constant time.
func find(callers []*Caller, sum [sha256.Size]byte) (found *Caller) {
	for _, c := range callers {
		if subtle.ConstantTimeCompare(c.entry.sum[:], sum[:]) == 1 {
			found = c
		}
	}
	return found
}
