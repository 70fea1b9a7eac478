package runtime

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// maxCopyEntries bounds how many files and folders one copy holds.
const maxCopyEntries = 1 << 20

// copyPiece is how much of an archive an update holds.
const copyPiece = 64 << 10

// Copy implements protocol.Containers.
func (c containers) Copy(ctx context.Context, v protocol.Copy) (protocol.Session, error) {
	at, err := c.find("copy", v.Target)
	if err != nil {
		return nil, err
	}
	done, err := at.reach.take(&at.reach.copies, maxCopies, "copies")
	if err != nil {
		return nil, err
	}
	s, err := c.copySession(ctx, at, v)
	if err != nil {
		done()
		return nil, c.node.outside("copy", v.Target, err)
	}
	go func() { // ends with the archive, or with the session
		defer done()
		s.run()
	}()
	return s, nil
}

func (c containers) copySession(ctx context.Context, at reached, v protocol.Copy) (*copySession, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	driver := c.node.cfg.Driver
	s := &copySession{event: at.event, ended: make(chan struct{})}
	s.gone, s.leave = context.WithCancel(context.Background())
	s.pipe, s.feed = io.Pipe()
	failed := func(err error) error { return c.node.outside("copy", v.Target, err) }
	if v.Into {
		to, err := placeCopy(call, driver, at.name, &v)
		if err != nil {
			return nil, err
		}
		s.move = func() error {
			archive, out := io.Pipe()
			var rebased error
			var work sync.WaitGroup
			work.Go(func() {
				rebased = to.rebase(out, s.pipe)
				_ = out.CloseWithError(rebased)
				_ = s.pipe.CloseWithError(io.ErrClosedPipe) // no more is taken
			})
			err := driver.CopyInto(s.gone, at.name, to.dir, archive)
			_ = archive.CloseWithError(io.ErrClosedPipe)
			work.Wait()
			if rebased != nil && !errors.Is(rebased, io.ErrClosedPipe) {
				return rebased
			}
			return failed(err)
		}
		return s, nil
	}
	archive, from, err := c.openCopy(call, at.name, &v)
	if err != nil {
		return nil, err
	}
	s.out = true
	s.move = func() error {
		defer archive.Close()
		defer context.AfterFunc(s.gone, func() { archive.Close() })()
		err := from.rebase(s.feed, archive)
		_ = s.feed.CloseWithError(io.EOF)
		return failed(err)
	}
	return s, nil
}

// openCopy opens what is to be copied out of a container.
func (c containers) openCopy(ctx context.Context, container string, v *protocol.Copy) (io.ReadCloser, archivePlacement, error) {
	file := path.Clean(v.Path)
	stat, err := c.node.cfg.Driver.Stat(ctx, container, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, archivePlacement{}, protocol.Errorf(protocol.CodeConstraint, "the container has no %s", v.Path)
	}
	if err != nil {
		return nil, archivePlacement{}, err
	}
	from := archivePlacement{top: path.Base(file)}
	if file == "/" {
		from = archivePlacement{prefix: "rootfs"}
	}
	if v.FollowLink && stat.Link != "" {
		file = stat.Link
	}
	archive, err := c.node.cfg.Driver.CopyFrom(ctx, container, file)
	return archive, from, err
}

// archivePlacement says where an archive goes.
type archivePlacement struct {
	dir string
	// top is the name of the one file or folder at its top; empty leaves all names
	// as they are, below the folder prefix.
	top, prefix string
	// file says that it must be no folder, folder that it must be one.
	file, folder bool
	// guarded refuses what only an image may hold.
	guarded bool
}

// placeCopy finds out where what is copied into a container goes; see
// protocol.Copy.
func placeCopy(ctx context.Context, d Driver, container string, v *protocol.Copy) (archivePlacement, error) {
	to, slash := path.Clean(v.Path), strings.HasSuffix(v.Path, "/")
	stat, err := d.Stat(ctx, container, to)
	switch {
	case err == nil && stat.Mode.IsDir():
		return archivePlacement{dir: to, guarded: true}, nil
	case err == nil && (v.Contents || slash):
		return archivePlacement{}, protocol.Errorf(protocol.CodeConflict, "%s is a file in the container, not a folder", v.Path)
	case err == nil:
		if stat.Link != "" {
			to = stat.Link
		}
		return archivePlacement{dir: path.Dir(to), top: path.Base(to), file: true, guarded: true}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return archivePlacement{}, err
	}
	above, err := d.Stat(ctx, container, path.Dir(to))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return archivePlacement{}, protocol.Errorf(protocol.CodeConstraint, "the container has no folder %s: make it first with 'hearth exec'", path.Dir(to))
	case err != nil:
		return archivePlacement{}, err
	case !above.Mode.IsDir():
		return archivePlacement{}, protocol.Errorf(protocol.CodeConflict, "%s is a file in the container, not a folder", path.Dir(to))
	}
	at := archivePlacement{dir: path.Dir(to), top: path.Base(to), folder: slash, guarded: true}
	if v.Contents {
		at.top, at.prefix = "", at.top
	}
	return at, nil
}

// rebase copies an archive and gives it the names that it is to have.
func (p archivePlacement) rebase(to io.Writer, from io.Reader) error {
	in, out := tar.NewReader(from), tar.NewWriter(to)
	first := ""
	if p.prefix != "" {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: p.prefix + "/", Mode: 0o755}); err != nil {
			return err
		}
	}
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil:
			return explainArchive(err)
		case n >= maxCopyEntries:
			return protocol.Errorf(protocol.CodeInvalid, "a copy holds at most %d files", maxCopyEntries)
		}
		if err := p.rename(h, &first); err != nil {
			return err
		}
		h.Format = tar.FormatUnknown // the one that the new name needs
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return explainArchive(err)
		}
	}
	if first == "" && p.top != "" {
		return protocol.Errorf(protocol.CodeInvalid, "what is to be copied is an empty archive")
	}
	return out.Close()
}

func explainArchive(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
		return protocol.Errorf(protocol.CodeInvalid, "what is to be copied is no whole tar archive")
	}
	return err
}

// rename gives one entry its name; first is how the archive calls the one at its
// top.
func (p archivePlacement) rename(h *tar.Header, first *string) error {
	name, err := p.moved(h.Name, first)
	if err != nil {
		return err
	}
	if p.guarded && (h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock) {
		return protocol.Errorf(protocol.CodePolicy, "%s is a device file: none is copied into a container", quoted(h.Name))
	}
	if p.guarded {
		// The engine unpacks as root, whoever the container runs as.
		h.Mode &= 0o1777
		maps.DeleteFunc(h.PAXRecords, func(key, _ string) bool { return strings.HasPrefix(key, "SCHILY.xattr.") })
	}
	if h.Typeflag == tar.TypeLink {
		if h.Linkname, err = p.moved(h.Linkname, first); err != nil {
			return err
		}
	}
	if top := name == p.top; top && p.top != "" {
		switch folder := h.Typeflag == tar.TypeDir; {
		case folder && p.file:
			return protocol.Errorf(protocol.CodeConflict, "%s is a file in the container, and a folder is to be copied there", path.Join(p.dir, p.top))
		case !folder && p.folder:
			return protocol.Errorf(protocol.CodeConstraint, "the container has no folder %s/", path.Join(p.dir, p.top))
		}
	}
	if h.Typeflag == tar.TypeDir {
		name += "/"
	}
	h.Name = name
	return nil
}

// moved returns what a name in the archive becomes.
func (p archivePlacement) moved(name string, first *string) (string, error) {
	clean := path.Clean(name)
	if !p.guarded { // the engine calls a container's root /
		clean = path.Join(".", clean)
	}
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", protocol.Errorf(protocol.CodeInvalid, "the archive holds %s, which leads out of it", quoted(name))
	}
	if p.top == "" {
		return path.Join(p.prefix, clean), nil
	}
	top, rest, _ := strings.Cut(clean, "/")
	if *first == "" {
		*first = top
	}
	if top != *first {
		return "", protocol.Errorf(protocol.CodeInvalid, "the archive holds %s and %s at its top, and is to become one file or folder", quoted(*first), quoted(top))
	}
	return path.Join(p.top, rest), nil
}

// copySession is a copy as a protocol.Session.
type copySession struct {
	event func(protocol.State) protocol.Event
	out   bool
	// move does the copy: out of the container into feed, or from pipe into it.
	move func() error
	pipe *io.PipeReader
	feed *io.PipeWriter
	// gone ends when the session is closed.
	gone  context.Context
	leave context.CancelFunc

	ended chan struct{} // closed when err is set
	err   error

	// These belong to Next.
	step   execStep
	offset uint64
	buf    []byte
}

// run does the copy.
func (s *copySession) run() {
	s.err = s.move()
	close(s.ended)
	_ = s.pipe.CloseWithError(io.ErrClosedPipe)
	_ = s.feed.CloseWithError(io.EOF)
}

// Next implements protocol.Session.
func (s *copySession) Next() (protocol.Update, error) {
	switch s.step {
	case execStarted:
		s.step = execOutput
		event := s.event(protocol.StateRunning)
		return protocol.Update{Event: &event}, nil
	case execOutput:
		if s.out {
			if s.buf == nil {
				s.buf = make([]byte, copyPiece)
			}
			n, err := io.ReadFull(s.pipe, s.buf)
			if n > 0 {
				at := s.offset
				s.offset += uint64(n)
				return protocol.Update{Output: &protocol.Output{Channel: protocol.Stdout, Offset: at, Data: s.buf[:n:n], At: time.Now()}}, nil
			}
			_ = err // the end says why
		}
		select {
		case <-s.ended:
		case <-s.gone.Done():
			return protocol.Update{}, io.ErrClosedPipe
		}
		s.step = execEnded
		event := s.event(protocol.StateSucceeded)
		if s.err != nil {
			event.State, event.Code, event.Reason = protocol.StateFailed, protocol.CodeOf(s.err), publicText(s.err)
		}
		return protocol.Update{Event: &event}, nil
	}
	return protocol.Update{}, io.EOF
}

// Write implements protocol.Session.
func (s *copySession) Write(p []byte) (int, error) {
	if s.out {
		return 0, io.ErrClosedPipe
	}
	return s.feed.Write(p)
}

// CloseWrite implements protocol.Session.
func (s *copySession) CloseWrite() error {
	if s.out {
		return nil
	}
	return s.feed.Close()
}

// Stop implements protocol.Session: it breaks the copy off.
func (s *copySession) Stop(time.Duration) error { return s.Close() }

// Signal and Resize implement protocol.Session: there is nobody to tell.
func (s *copySession) Signal(string) error         { return nil }
func (s *copySession) Resize(uint16, uint16) error { return nil }

// Close implements protocol.Session.
func (s *copySession) Close() error {
	s.leave()
	_ = s.pipe.CloseWithError(io.ErrClosedPipe)
	_ = s.feed.CloseWithError(io.ErrClosedPipe)
	return nil
}
