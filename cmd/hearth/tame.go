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

// tameFinals end the control sequences that only colour text, move the cursor or
// erase; none makes a terminal answer, change its mode, or do anything elsewhere.
const tameFinals = "mABCDEFGHIJKLMPXZ@`adef"

// A tame writer passes on what others wrote to a terminal, but for what could do
// more than show text there: titles, the clipboard, links and notices (OSC), device
// control (DCS, APC, PM, SOS), questions whose answers would be typed into a shell,
// modes and resets. Sequences may be split between writes. It is ECMA-48's grammar,
// in UTF-8.
type tame struct {
	to    io.Writer
	state tameState
	held  []byte // of a sequence or a character that is not whole yet
	long  int    // bytes of the control string that are dropped
	lines bool   // the control string may have line ends
	dyed  bool   // a colour is set
	out   bytes.Buffer
}

type tameState uint8

const (
	tameText     tameState = iota
	tameEscape             // after ESC
	tameSequence           // CSI: parameters, intermediates, a final byte
	tameShort              // ESC, intermediates, a final byte
	tameString             // OSC, DCS, …: to its end
	tameStringST           // after an ESC within one
)

const esc = 0x1b

// Write never returns less than all, but with an error of the writer below.
func (t *tame) Write(p []byte) (int, error) {
	t.out.Reset()
	for _, b := range p {
		t.next(b)
	}
	if t.out.Len() == 0 {
		return len(p), nil
	}
	_, err := t.to.Write(t.out.Bytes())
	return len(p), err
}

// finish shows what is not whole, and takes back a colour.
func (t *tame) finish() error {
	t.out.Reset()
	t.flush()
	if t.dyed {
		t.out.WriteString("\x1b[0m")
	}
	t.dyed, t.state = false, tameText
	_, err := t.to.Write(t.out.Bytes())
	return err
}

func (t *tame) next(b byte) {
	switch t.state {
	case tameText:
		t.text(b)
	case tameEscape:
		t.escape(b)
	case tameSequence:
		t.sequence(b)
	case tameShort:
		if b < 0x20 || b > 0x2f {
			t.restart(b, 0x30 <= b && b <= 0x7e)
		}
	case tameString:
		t.string(b)
	case tameStringST:
		if t.state = tameString; b == '\\' {
			t.state = tameText
			return
		}
		t.state = tameEscape // another sequence ends the string
		t.escape(b)
	}
}

// text passes characters on as they become whole, and drops control characters
// but for those that begin a line or move in it.
func (t *tame) text(b byte) {
	if len(t.held) > 0 || b >= utf8.RuneSelf {
		t.character(b)
		return
	}
	switch {
	case b == esc:
		t.state = tameEscape
	case b >= 0x20 && b != 0x7f, b == '\n', b == '\r', b == '\t', b == '\b':
		t.out.WriteByte(b)
	}
}

// character adds a byte to one that takes several. What is none is shown as
// U+FFFD; the control characters of C1, which such bytes or characters are to some
// terminals, are dropped.
func (t *tame) character(b byte) {
	if len(t.held) > 0 && utf8.RuneStart(b) { // the one before was cut short
		t.flush()
		t.text(b)
		return
	}
	t.held = append(t.held, b)
	if !utf8.FullRune(t.held) {
		return
	}
	r, size := utf8.DecodeRune(t.held)
	if size < len(t.held) || r == utf8.RuneError {
		t.flush()
		return
	}
	if r >= 0xa0 {
		t.out.Write(t.held)
	}
	t.held = t.held[:0]
}

// flush shows a character that never became whole.
func (t *tame) flush() {
	if len(t.held) > 0 && t.state == tameText {
		t.out.WriteRune(utf8.RuneError)
	}
	t.held = t.held[:0]
}

func (t *tame) escape(b byte) {
	switch {
	case b == '[':
		t.state, t.held = tameSequence, append(t.held[:0], esc, '[')
	case b == ']', b == 'P', b == 'X', b == '^', b == '_':
		t.state, t.long, t.lines = tameString, 0, b == 'P'
	case 0x20 <= b && b <= 0x2f:
		t.state = tameShort
	default:
		t.restart(b, 0x30 <= b && b <= 0x7e)
	}
}

// restart goes back to text: the sequence so far is dropped, and with it b if it
// was the end of it.
func (t *tame) restart(b byte, ended bool) {
	t.state, t.held = tameText, t.held[:0]
	if !ended {
		t.text(b)
	}
}

func (t *tame) sequence(b byte) {
	switch {
	case b < 0x20 || b > 0x7e || len(t.held) >= maxSequence:
		t.restart(b, false)
	case b < 0x40:
		t.held = append(t.held, b)
	default:
		plain := !bytes.ContainsFunc(t.held[2:], func(r rune) bool { return r < '0' || r > ';' })
		if plain && bytes.IndexByte([]byte(tameFinals), b) >= 0 {
			t.out.Write(append(t.held, b))
			t.dyed = b != 'm' && t.dyed || b == 'm' && !bytes.Equal(t.held[2:], []byte("0")) && len(t.held) > 2
		}
		t.restart(b, true)
	}
}

// string drops a control string to its end. One that never ends must not hide all
// that follows: a line end gives it up, where none can be in it, or its length.
func (t *tame) string(b byte) {
	const bel, can, sub = 0x07, 0x18, 0x1a
	t.long++
	switch {
	case b == esc:
		t.state = tameStringST
	case b == bel, b == can, b == sub:
		t.state = tameText
	case t.long > maxString, b == '\n' && !t.lines:
		t.restart(b, false)
	}
}
