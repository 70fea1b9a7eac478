package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// sanitized writes the text in pieces of n bytes.
func sanitized(t *testing.T, text string, n int) string {
	t.Helper()
	var out bytes.Buffer
	w := &sanitizer{to: &out}
	for len(text) > 0 {
		piece := text[:min(n, len(text))]
		if wrote, err := w.Write([]byte(piece)); err != nil || wrote != len(piece) {
			t.Fatalf("%d, %v", wrote, err)
		}
		text = text[len(piece):]
	}
	if err := w.finish(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTerminalGetsTextAndColoursAlone(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"text", "héllo, 世界 🔥\r\n\tx\b\n", "héllo, 世界 🔥\r\n\tx\b\n"},
		{"colours", "\x1b[1;31mred\x1b[0m \x1b[38:2::1:2:3mx\x1b[m", "\x1b[1;31mred\x1b[0m \x1b[38:2::1:2:3mx\x1b[m"},
		{"a colour that is left on", "\x1b[31mred", "\x1b[31mred\x1b[0m"},
		{"cursor", "\x1b[2J\x1b[H\x1b[10;5H\x1b[3A\x1b[K", "\x1b[2J\x1b[H\x1b[10;5H\x1b[3A\x1b[K"},
		{"title", "a\x1b]0;PWNED\ab", "ab"},
		{"title, ended by ST", "a\x1b]2;PWNED\x1b\\b", "ab"},
		{"clipboard", "a\x1b]52;c;cm0gLXJmIH4K\ab", "ab"},
		{"link", "\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\", "text"},
		{"device control", "a\x1bPq#0;2;0;0;0\n~\x1b\\b", "ab"},
		{"others of the kind", "a\x1b_x\x1b\\b\x1b^x\x1b\\c\x1bXx\x1b\\d", "abcd"},
		{"cancelled", "\x1b]0;x\x18a\x1bPx\x1ab", "ab"},
		{"ended by another sequence", "\x1b]0;x\x1b[1mb\x1b[0m", "\x1b[1mb\x1b[0m"},
		{"never ended", "\x1b]0;x\nall of the rest\n", "\nall of the rest\n"},
		{"questions", "\x1b[6n\x1b[c\x1b[>c\x1b[21t\x1b[?1$p\x1b[>q\x1b[x\x05a", "a"},
		{"modes", "\x1b[?1049h\x1b[?1000h\x1b[4h\x1b[?2004h\x1b[>1u\x1b[!p\x1b[5ia", "a"},
		{"resets and character sets", "\x1bc\x1b(0\x1b#8\x1b=\x1b7\x1b%@\x0e\x0fa", "a"},
		{"C1 in UTF-8", "\u009b6n\u009d0;x\aa", "6n0;xa"},
		{"C1 as bytes", "\x9b6n\x9d0;xa", "\ufffd6n\ufffd0;xa"},
		{"half a character", "\xe4\xb8a\xe4\xb8", "\ufffda\ufffd"},
		{"an endless sequence", "\x1b[" + strings.Repeat("1;", 40) + "ma", strings.Repeat("1;", 9) + "ma"},
		{"a sequence that is broken off", "\x1b[3\na\x1b[3", "\na"},
		{"controls", "\x00\x01\x07\x0b\x0c\x7fa", "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n := 1; n <= len(c.text); n++ {
				if got := sanitized(t, c.text, n); got != c.want {
					t.Errorf("in pieces of %d: %q, want %q", n, got, c.want)
				}
			}
		})
	}
	long := "\x1bP" + strings.Repeat("x", maxString) + "shown"
	if got := sanitized(t, long, 4096); got != "shown" {
		t.Errorf("after a string that never ends: %d bytes", len(got))
	}
}

// allowed is all that a terminal may get.
var allowed = regexp.MustCompile(`\A(?:[\n\r\t\x08]|[^\x00-\x1f\x7f-\x{9f}]|\x1b\[[0-;]*[mABCDEFGHIJKLMPXZ@` + "`" + `adef])*\z`)

// Whatever is written, and however it is split, the terminal gets the same, and
// nothing but text, colours and movements.
func FuzzTerminalOutput(f *testing.F) {
	for _, seed := range []string{"a\x1b]0;x\ab", "\x1b[1;31mr\x1b[0m", "\x9b6n\u009d\xe4\xb8", "\x1bP1\n\x1b\x1b\\", "\x1b[\x1b[\x1b]\x1b"} {
		f.Add(seed, uint8(1), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, m, n uint8) {
		a, b := sanitized(t, text, int(m)+1), sanitized(t, text, int(n)+1)
		if a != b {
			t.Errorf("%q: %q in pieces of %d, %q in pieces of %d", text, a, int(m)+1, b, int(n)+1)
		}
		if !utf8.ValidString(a) || !allowed.MatchString(a) {
			t.Errorf("%q gives %q", text, a)
		}
	})
}
