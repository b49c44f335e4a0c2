package main

import (
	"errors"
	"regexp"
	"strings"
)

var (
	// errNoLicence is returned when a module has no file with a licence.
	errNoLicence = errors.New("has no licence")
	// errUnknown is returned when a text holds anything besides licences that are known, word by word.
	errUnknown = errors.New("is no licence that is known word by word, and build/audit/reviewed.txt does not name it")
	// errNotAllowed is returned when a licence is not among the allowed ones.
	errNotAllowed = errors.New("is under a licence that is not allowed")
)

// allowed are the licences, by their names in SPDX, under which what is built into a program may be.
var allowed = map[string]bool{"Apache-2.0": true, "BSD-2-Clause": true, "BSD-3-Clause": true, "ISC": true, "MIT": true}

// known are the words of licences, as normalize leaves them; the first that fits counts. Names of holders differ.
var known = []struct {
	name  string
	words *regexp.Regexp
}{
	{"MIT", words(`permission is hereby granted free of charge to any person obtaining copy of this software and associated
		documentation files the software to deal in the software without restriction including without limitation the rights to
		use copy modify merge publish distribute sublicense and or sell copies of the software and to permit persons to whom the
		software is furnished to do so subject to the following conditions the above copyright notice and this permission notice
		(?:including the next paragraph )?shall be included in all copies or substantial portions of the software the software is
		provided as is without warranty of any kind express or implied including but not limited to the warranties of
		merchantability fitness for particular purpose and noninfringement in no event shall the authors or copyright holders be
		liable for any claim damages or other liability whether in an action of contract tort or otherwise arising from out of or
		in connection with the software or the use or other dealings in the software`)},
	{"BSD-3-Clause", words(bsd + `neither the names? of (?:\w+ ){1,20}?nor the names of (?:its |their |any )?contributors may be
		used to endorse or promote products derived from this software without specific prior written permission ` + disclaimer)},
	{"BSD-2-Clause", words(bsd + disclaimer)},
	{"ISC", words(`permission to use copy modify and (?:or )?distribute this software for any purpose with or without fee is hereby
		granted provided that the above copyright notice and this permission notice appear in all copies the software is provided
		as is and the author disclaims all warranties with regard to this software including all implied warranties of
		merchantability and fitness in no event shall the author be liable for any special direct indirect or consequential
		damages or any damages whatsoever resulting from loss of use data or profits whether in an action of contract negligence
		or other tortious action arising out of or in connection with the use or performance of this software`)},
	{"Apache-2.0", words(`licensed under the apache license version 2\.0 the license you may not use (?:this file|these files) except in
		compliance with the license you may obtain copy of the license at https? www\.apache\.org licenses license 2\.0 unless
		required by applicable law or agreed to in writing software distributed under the license is distributed on an as is basis
		without warranties or conditions of any kind either express or implied see the license for the specific language governing
		permissions and limitations under the license`)},
}

const (
	bsd = `redistribution and use in source and binary forms with or without modification are permitted provided that the following
		conditions are met redistributions of source code must retain the above copyright notice this list of conditions and the
		following disclaimer redistributions in binary form must reproduce the above copyright notice this list of conditions and
		the following disclaimer in the documentation and or other materials provided with the distribution `
	disclaimer = `this software is provided by (?:\w+ ){1,10}?as is and any express or implied warranties including but not limited
		to the implied warranties of merchantability and fitness for particular purpose are disclaimed in no event shall
		(?:\w+ ){1,10}?be liable for any direct indirect incidental special exemplary or consequential damages including but not
		limited to procurement of substitute goods or services loss of use data or profits or business interruption however caused
		and on any theory of liability whether in contract strict liability or tort including negligence or otherwise arising in any
		way out of the use of this software even if advised of the possibility of such damage`
)

// words is an expression over words, written on several lines.
func words(expression string) *regexp.Regexp {
	return regexp.MustCompile(strings.Join(strings.Fields(expression), " "))
}

var (
	holder   = regexp.MustCompile(`(?im)^[^a-z0-9]*(copyright:? +(\(c\)|©|\d{4}|[\[{]y)|\(c\)|©|all rights reserved).*$`)
	word     = regexp.MustCompile(`[a-z0-9]+(?:\.[a-z0-9]+)*`)
	appendix = words(`appendix how to apply the apache license to your work to apply the apache license to your work attach the following
		boilerplate notice with the fields enclosed by brackets (?:\w+ )?replaced with your own identifying information don include
		the brackets the text should be enclosed in the appropriate comment syntax for the file format we also recommend that
		file or class name and description of purpose be included on the same printed page as the copyright notice for easier
		identification within third party archives`)
	title = words(`(?:the )?(?:mit|isc|bsd|new bsd|bsd 2 clause|bsd 3 clause|simplified bsd)(?: license)?(?: mit)?`)
)

// normalize leaves the words of a licence: no signs, case, lines of copyright, nor what counts a list.
func normalize(text string) string {
	var found []string
	for _, w := range word.FindAllString(strings.ToLower(holder.ReplaceAllString(text, "")), -1) {
		if len(w) > 1 {
			found = append(found, w)
		}
	}
	return strings.Join(found, " ")
}

// recognise is the licences whose words are all that the text holds, in the order of known. apache is the text of the
// Apache License. [errUnknown] is returned when there is another word: an exception, or a further condition.
func recognise(text, apache string) ([]string, error) {
	const end = "end of terms and conditions"
	rest, _ := strings.CutSuffix(normalize(text), " "+end)
	full, _, _ := strings.Cut(normalize(apache), " "+end)
	var found []string
	if strings.Contains(rest, full) {
		found = append(found, "Apache-2.0")
		rest = strings.Replace(strings.Replace(rest, full, " ", 1), end, " ", 1)
		rest = appendix.ReplaceAllString(rest, " ")
	}
	for _, licence := range known {
		if without := licence.words.ReplaceAllString(rest, " "); without != rest {
			rest = without
			if len(found) == 0 || found[0] != licence.name {
				found = append(found, licence.name)
			}
		}
	}
	rest = strings.TrimSpace(rest)
	if len(found) == 0 || rest != "" && title.FindString(rest) != rest {
		return nil, errUnknown
	}
	return found, nil
}
