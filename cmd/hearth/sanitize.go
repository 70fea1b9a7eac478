package main

import (
	"bytes"
	"io"
	"unicode/utf8"
)

const (
	// maxSequence is how many bytes of a control sequence are looked at; a longer one
	// is none.
	maxSequence = 64
	// maxString is after how many bytes a control string that never ends is given up:
	// what follows is shown again.
	maxString = 64 << 10
)

// allowedFinals end the control sequences that only colour text, move the cursor or
// erase; none makes a terminal answer, change its mode, or do anything elsewhere.
const allowedFinals = "mABCDEFGHIJKLMPXZ@`adef"

// A sanitizer passes on what others wrote to a terminal, but for what could do
// more than show text there: titles, the clipboard, links and notices (OSC), device
// control (DCS, APC, PM, SOS), questions whose answers would be typed into a shell,
// modes and resets. Sequences may be split between writes. It is ECMA-48's grammar,
// in UTF-8.
type sanitizer struct {
	to      io.Writer
	state   sanitizerState
	pending []byte // of a sequence or a character that is not whole yet
	long    int    // bytes of the control string that are dropped
	lines   bool   // the control string may have line ends
	styled  bool   // a colour is set
	out     bytes.Buffer
}

type sanitizerState uint8

const (
	inText     sanitizerState = iota
	inEscape                  // after ESC
	inSequence                // CSI: parameters, intermediates, a final byte
	inShort                   // ESC, intermediates, a final byte
	inString                  // OSC, DCS, …: to its end
	inStringST                // after an ESC within one
)

const esc = 0x1b

// Write never returns less than all, but with an error of the writer below.
func (s *sanitizer) Write(p []byte) (int, error) {
	s.out.Reset()
	for _, b := range p {
		s.next(b)
	}
	if s.out.Len() == 0 {
		return len(p), nil
	}
	_, err := s.to.Write(s.out.Bytes())
	return len(p), err
}

// finish shows what is not whole, and takes back a colour.
func (s *sanitizer) finish() error {
	s.out.Reset()
	s.flush()
	if s.styled {
		s.out.WriteString("\x1b[0m")
	}
	s.styled, s.state = false, inText
	_, err := s.to.Write(s.out.Bytes())
	return err
}

func (s *sanitizer) next(b byte) {
	switch s.state {
	case inText:
		s.text(b)
	case inEscape:
		s.escape(b)
	case inSequence:
		s.sequence(b)
	case inShort:
		if b < 0x20 || b > 0x2f {
			s.restart(b, 0x30 <= b && b <= 0x7e)
		}
	case inString:
		s.string(b)
	case inStringST:
		if s.state = inString; b == '\\' {
			s.state = inText
			return
		}
		s.state = inEscape // another sequence ends the string
		s.escape(b)
	}
}

// text passes characters on as they become whole, and drops control characters
// but for those that begin a line or move in it.
func (s *sanitizer) text(b byte) {
	if len(s.pending) > 0 || b >= utf8.RuneSelf {
		s.character(b)
		return
	}
	switch {
	case b == esc:
		s.state = inEscape
	case b >= 0x20 && b != 0x7f, b == '\n', b == '\r', b == '\t', b == '\b':
		s.out.WriteByte(b)
	}
}

// character adds a byte to one that takes several. What is none is shown as
// U+FFFD; the control characters of C1, which such bytes or characters are to some
// terminals, are dropped.
func (s *sanitizer) character(b byte) {
	if len(s.pending) > 0 && utf8.RuneStart(b) { // the one before was cut short
		s.flush()
		s.text(b)
		return
	}
	s.pending = append(s.pending, b)
	if !utf8.FullRune(s.pending) {
		return
	}
	r, size := utf8.DecodeRune(s.pending)
	if size < len(s.pending) || r == utf8.RuneError {
		s.flush()
		return
	}
	if r >= 0xa0 {
		s.out.Write(s.pending)
	}
	s.pending = s.pending[:0]
}

// flush shows a character that never became whole.
func (s *sanitizer) flush() {
	if len(s.pending) > 0 && s.state == inText {
		s.out.WriteRune(utf8.RuneError)
	}
	s.pending = s.pending[:0]
}

func (s *sanitizer) escape(b byte) {
	switch {
	case b == '[':
		s.state, s.pending = inSequence, append(s.pending[:0], esc, '[')
	case b == ']', b == 'P', b == 'X', b == '^', b == '_':
		s.state, s.long, s.lines = inString, 0, b == 'P'
	case 0x20 <= b && b <= 0x2f:
		s.state = inShort
	default:
		s.restart(b, 0x30 <= b && b <= 0x7e)
	}
}

// restart goes back to text: the sequence so far is dropped, and with it b if it
// was the end of it.
func (s *sanitizer) restart(b byte, ended bool) {
	s.state, s.pending = inText, s.pending[:0]
	if !ended {
		s.text(b)
	}
}

func (s *sanitizer) sequence(b byte) {
	switch {
	case b < 0x20 || b > 0x7e || len(s.pending) >= maxSequence:
		s.restart(b, false)
	case b < 0x40:
		s.pending = append(s.pending, b)
	default:
		plain := !bytes.ContainsFunc(s.pending[2:], func(r rune) bool { return r < '0' || r > ';' })
		if plain && bytes.IndexByte([]byte(allowedFinals), b) >= 0 {
			s.out.Write(append(s.pending, b))
			s.styled = b != 'm' && s.styled || b == 'm' && !bytes.Equal(s.pending[2:], []byte("0")) && len(s.pending) > 2
		}
		s.restart(b, true)
	}
}

// string drops a control string to its end. One that never ends must not hide all
// that follows: a line end gives it up, where none can be in it, or its length.
func (s *sanitizer) string(b byte) {
	const bel, can, sub = 0x07, 0x18, 0x1a
	s.long++
	switch {
	case b == esc:
		s.state = inStringST
	case b == bel, b == can, b == sub:
		s.state = inText
	case s.long > maxString, b == '\n' && !s.lines:
		s.restart(b, false)
	}
}
