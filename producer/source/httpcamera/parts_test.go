package httpcamera

import (
	"bufio"
	"bytes"
	"testing"
)

// Whatever comes, taking it apart ends, and gives no more than came.
func FuzzParts(f *testing.F) {
	for _, seed := range []string{
		"--b\r\nContent-Type: image/jpeg\r\nContent-Length: 4\r\n\r\n\xff\xd8\xff\xd9\r\n--b--\r\n",
		"Content-Length: 99999999999999999999\r\n\r\n", "--\r\n\r\n\xff\xd8\xff\xe0\xff\xff", "\xff\xd8\xff\xda\x00\x02\x00\xff\x00\xff\xd9\xff\xd8\xff\xd9",
		"a:b\n\n\n\n", "--b\nContent-Length: 2\n\nab--b\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := parts{bufio.NewReader(bytes.NewReader(data))}
		total := 0
		for {
			picture, err := p.next()
			if err != nil {
				break
			}
			if total += len(picture); len(picture) == 0 || total > len(data) {
				t.Fatalf("%d bytes of pictures in %d bytes", total, len(data))
			}
		}
	})
}

func FuzzChallenge(f *testing.F) {
	f.Add(`realm="a, \"b\"", nonce=c, qop="auth,auth-int"`)
	f.Add(`="`)
	f.Fuzz(func(t *testing.T, text string) {
		l := login{scheme: "digest", user: "u", password: "p", parameters: challenge(text)}
		if algorithm(l.parameters) != nil {
			l.digest("GET", "/", "c")
		}
	})
}
