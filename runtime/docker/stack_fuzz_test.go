package docker

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/stack"
)

func logFrame(kind byte, text string) []byte {
	head := [frameHeader]byte{0: kind}
	binary.BigEndian.PutUint32(head[4:], uint32(len(text)))
	return append(head[:], text...)
}

func TestLogReader(t *testing.T) {
	const at = "2026-11-30T10:42:34.000000001Z "
	in := bytes.Join([][]byte{
		logFrame(frameStdout, at+"one\n"), logFrame(frameStderr, at+"two\r\n"), logFrame(frameStdout, at+strings.Repeat("x", 20<<10)), logFrame(frameStdout, "odd\n"),
	}, nil)
	l := logReader{in: bufio.NewReaderSize(bytes.NewReader(in), smallBuffer), service: "web"}
	var got []protocol.LogLine
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line)
	}
	if len(got) != 4 || got[0].Text != "one" || got[0].Service != "web" || got[0].At.Nanosecond() != 1 || got[1].Text != "two" || got[1].Channel != protocol.Stderr ||
		!got[2].Cut || len(got[2].Text) != 20<<10 || got[3].Text != "odd" || !got[3].At.IsZero() {
		t.Errorf("%+v", got)
	}
	raw := logReader{in: bufio.NewReaderSize(strings.NewReader(at+"one\r\n"+at+"two"), smallBuffer), raw: true}
	one, err := raw.next()
	two, err2 := raw.next()
	if err != nil || err2 != nil || one.Text != "one" || one.Cut || two.Text != "two" || !two.Cut {
		t.Errorf("%+v, %v; %+v, %v", one, err, two, err2)
	}
}

// FuzzLogReader: it ends, and keeps no more than a bounded line in memory.
func FuzzLogReader(f *testing.F) {
	f.Add(logFrame(frameStdout, "2026-11-30T10:42:34Z x\n"), false)
	f.Add([]byte("2026-11-30T10:42:34Z x\n"), true)
	f.Add([]byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 'x'}, false)
	f.Fuzz(func(t *testing.T, in []byte, raw bool) {
		l := logReader{in: bufio.NewReaderSize(bytes.NewReader(in), smallBuffer), raw: raw}
		for range len(in) + 2 {
			line, err := l.next()
			if err != nil {
				return
			}
			if len(line.Text) > maxLine+smallBuffer {
				t.Errorf("a line of %d bytes", len(line.Text))
			}
		}
		t.Error("it does not end")
	})
}

// FuzzAddFolder: whatever an archive says, what comes out lies in the folder, and is
// a plain file or a folder.
func FuzzAddFolder(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o755}, {Typeflag: tar.TypeReg, Name: "../../etc/x", Mode: 0o4755, Size: 1},
		{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "/etc"}, {Typeflag: tar.TypeChar, Name: "/dev/x"},
	} {
		w.WriteHeader(h)
		if h.Size > 0 {
			w.Write([]byte("x"))
		}
	}
	w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, archive []byte) {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		if err := addFolder(w, &stack.File{StackFile: protocol.StackFile{Data: archive}}, "srv/site", 5, 6); err != nil {
			return
		}
		if err := w.Close(); err != nil {
			return
		}
		files := tar.NewReader(&out)
		for {
			h, err := files.Next()
			if err != nil {
				return
			}
			if clean := path.Clean(h.Name); clean != "srv/site" && !strings.HasPrefix(clean, "srv/site/") || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir || h.Mode&^0o777 != 0 || h.Uid != 5 {
				t.Errorf("%+v", h)
			}
		}
	})
}
