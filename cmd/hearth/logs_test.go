package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
)

func (l *lastLines) text() (all []string) {
	for _, line := range l.lines {
		all = append(all, fmt.Sprintf("%d:%s", line.channel, line.data))
	}
	return all
}

// The last lines are those of the whole output, however it was cut into pieces.
func TestLastLinesAreThoseOfTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.StringMatching(`[ab\n]{1,6}`), 0, 30).Draw(t, "pieces")
		most := rapid.IntRange(0, 8).Draw(t, "most")
		got := lastLines{most: most}
		var whole strings.Builder
		for _, p := range pieces {
			got.add(&protocol.Output{Channel: protocol.Stdout, Offset: uint64(whole.Len()), Data: []byte(p)})
			whole.WriteString(p)
		}
		var want []string
		for line := range strings.Lines(whole.String()) {
			want = append(want, "1:"+line)
		}
		want = want[max(len(want)-most, 0):]
		if fmt.Sprint(got.text()) != fmt.Sprint(want) || got.have[protocol.Stdout] != uint64(whole.Len()) {
			t.Fatalf("%q, want %q", got.text(), want)
		}
	})
}

func TestLastLinesOfBothChannelsStayInOrder(t *testing.T) {
	l := lastLines{most: 3}
	at := time.Unix(1790000000, 0)
	for i, o := range []protocol.Output{
		{Channel: protocol.Stdout, Data: []byte("dropped\nfirst")},
		{Channel: protocol.Stderr, Data: []byte("err\n"), At: at},
		{Channel: protocol.Stdout, Data: []byte(" goes on\nla"), Cut: 7},
		{Channel: protocol.Stdout, Data: []byte("st")},
	} {
		l.add(&o)
		if i == 1 && fmt.Sprint(l.text()) != "[1:dropped\n 1:first 2:err\n]" {
			t.Errorf("%q", l.text())
		}
	}
	if got := fmt.Sprintf("%q", l.text()); got != `["1:first goes on\n" "2:err\n" "1:last"]` || l.cut != 7 || !l.full || !l.lines[1].at.Equal(at) {
		t.Errorf("%s, %+v", got, l)
	}
	endless := lastLines{most: 1}
	for range 40 {
		endless.add(&protocol.Output{Channel: protocol.Stdout, Data: make([]byte, 64<<10)})
	}
	if n := len(endless.lines[0].data); n != maxLine {
		t.Errorf("%d bytes of an endless line are kept", n)
	}
}

func TestStampsBeginLines(t *testing.T) {
	var l lineTimes
	at := time.Date(2026, 11, 30, 8, 0, 0, 5e6, time.UTC)
	got := string(l.stamp([]byte("a\nb"), at)) + string(l.stamp([]byte("b\n\n"), at.Add(time.Second))) + string(l.stamp([]byte("c"), time.Time{}))
	want := "2026-11-30T08:00:00.005Z a\n2026-11-30T08:00:00.005Z bb\n2026-11-30T08:00:01.005Z \n- c"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
