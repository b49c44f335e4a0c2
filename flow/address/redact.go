package address

import (
	"regexp"
	"strings"
)

const maxShown = 256 // bytes of a URI in a status

// start is what a URI begins with, also one whose scheme is mistyped: rtsp//, rtsp:/, //.
var start = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:?//?|^//`)

// secret is where a path names a password itself, as /user=admin_password=…_channel=1.
var secret = regexp.MustCompile(`(?i)(passw|passwd|pwd|pass|token|secret|apikey|api_key)[a-z]*=`)

// NamesSecret says whether the path or the query of a URL names a password itself.
func NamesSecret(uri string) bool { return secret.MatchString(uri) }

// Redact hides what may be a secret in a URI: all up to the last @, whatever a password holds, the query, and what a path says
// of passwords. Where a host should be, but is none, all is hidden: it may be a password whose @ was forgotten. Of what looks like
// a path without user:password nothing is hidden. It shortens what is very long.
func Redact(uri string) string {
	at := strings.LastIndexByte(uri, '@')
	head, rest, url := strings.Cut(uri, "://")
	switch {
	case url && !strings.ContainsAny(head, "@:/"):
		head += "://"
		if at >= len(head) {
			rest = uri[at+1:]
		}
	case at >= 0 && (url || strings.Contains(uri[:at], ":")):
		head, rest, url = start.FindString(uri), uri[at+1:], true
		if len(head) > at {
			head = ""
		}
	default:
		head, rest = "", uri
	}
	if host := rest[:authorityEnd(rest)]; url && host != "" && !isHost(variable.ReplaceAllString(host, "x")) {
		return Shorten(head + "…")
	}
	if i := secret.FindStringIndex(rest); i != nil {
		rest = rest[:i[1]] + "…"
	}
	if before, _, query := strings.Cut(rest, "?"); query && url {
		rest = before + "?…"
	}
	return Shorten(head + rest)
}

// Shorten cuts what is longer than a status shows.
func Shorten(text string) string {
	if len(text) <= maxShown {
		return text
	}
	return strings.ToValidUTF8(text[:maxShown-len("…")], "") + "…"
}

// words are what may be a URI in a line of text.
var words = regexp.MustCompile(`[^\s"'` + "`" + `()]+`)

// RedactText hides in a text, which may quote what somebody has typed, what [Redact] hides in each of its words, and all between :// and
// the last @ of a line.
func RedactText(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if begin, at := strings.Index(line, "://"), strings.LastIndexByte(line, '@'); begin >= 0 && at > begin {
			line = line[:begin+len("://")] + line[at+1:]
		}
		lines[i] = words.ReplaceAllStringFunc(line, func(word string) string {
			if strings.Contains(word, "@") && strings.Contains(word, ":") {
				return Redact(word)
			}
			return word
		})
	}
	return strings.Join(lines, "\n")
}
