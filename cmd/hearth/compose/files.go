package compose

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/hearth-edge/hearth/protocol"
)

// travelMount mounts a file or a folder beside the compose file that travels
// with the stack.
func (s *serviceReader) travelMount(m protocol.StackMount, rel string) {
	f, mode, err := s.readTravel(rel)
	if err != nil {
		s.refuseItem(m.Source, s.path("volumes"), err.Error(), "put what is larger into a volume (leave :ro out, and copy it with `hearth cp`), or name an absolute path of the node")
		return
	}
	s.addFile(f, s.path("volumes"))
	m.Kind, m.Source, m.ReadOnly, m.Mode = protocol.MountFile, f.Name, true, mode
	s.mount(m, "volumes")
}

// readTravel reads a file or a folder whole. The mode is 0 but for files that
// can be executed.
func (r *reader) readTravel(p string) (f protocol.StackFile, mode uint32, err error) {
	f.Name = p
	full := absolute(r.dir, p)
	info, err := os.Stat(full)
	if err != nil {
		return f, 0, err
	}
	if info.IsDir() {
		f.Folder = true
		f.Data, err = pack(full)
		return f, 0, err
	}
	if info.Mode().Perm()&0o111 != 0 {
		mode = 0o555
	}
	f.Data, err = readFile(full)
	return f, mode, err
}

var errTooBig = fmt.Errorf("it has more than %s, which is what files may travel together", protocol.Bytes(maxTravel))

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() > maxTravel {
		return nil, errTooBig
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxTravel+1))
	if err == nil && len(data) > maxTravel {
		return nil, errTooBig
	}
	return data, err
}

// pack returns a tar archive of a folder. It depends on names, contents and
// modes alone, so that an unchanged folder is an unchanged file. Links are
// followed to files and refused to folders, which could be endless.
func pack(folder string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	count := 0
	err := filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == folder {
			return err
		}
		if count++; count > maxFolderFiles {
			return fmt.Errorf("the folder has more than %d files", maxFolderFiles)
		}
		rel, err := filepath.Rel(folder, p)
		if err != nil {
			return err
		}
		info, err := os.Stat(p)
		if err != nil {
			return err
		}
		h := &tar.Header{Name: filepath.ToSlash(rel), Mode: int64(info.Mode().Perm()), Format: tar.FormatPAX}
		if info.IsDir() {
			if !d.IsDir() {
				return fmt.Errorf("%s is a link to a folder", rel)
			}
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
			return w.WriteHeader(h)
		}
		data, err := readFile(p)
		if err != nil {
			return err
		}
		h.Typeflag, h.Size = tar.TypeReg, int64(len(data))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if out.Len()+len(data) > maxTravel {
			return errTooBig
		}
		_, err = w.Write(data)
		return err
	})
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// addFile has a file travel with the stack, once.
func (r *reader) addFile(f protocol.StackFile, path []string) {
	if _, ok := r.travels[f.Name]; ok {
		return
	}
	before := r.size
	if r.size += len(f.Data); before <= maxTravel && r.size > maxTravel {
		r.refuse(path, fmt.Sprintf("with %s the files of the stack have more than %s together", clip(f.Name), protocol.Bytes(maxTravel)), "put what is large into a volume")
	}
	r.travels[f.Name] = len(r.stack.Files)
	r.stack.Files = append(r.stack.Files, f)
}

// configs mounts the configs that the service names.
func (s *serviceReader) configs() {
	for _, ref := range s.in.Configs {
		c, ok := s.project.Configs[ref.Source]
		if !ok {
			s.refuseItem(ref.Source, s.path("configs"), fmt.Sprintf("there is no config %s", clip(ref.Source)), "define it under configs: at the top level")
			continue
		}
		f := protocol.StackFile{Name: "configs/" + ref.Source}
		s.fileObject(&f, types.FileObjectConfig(c), types.FileReferenceConfig(ref), "configs", "/")
	}
}

// secrets mounts the secrets that the service names.
func (s *serviceReader) secrets() {
	for _, ref := range s.in.Secrets {
		c, ok := s.project.Secrets[ref.Source]
		if !ok {
			s.refuseItem(ref.Source, s.path("secrets"), fmt.Sprintf("there is no secret %s", clip(ref.Source)), "define it under secrets: at the top level")
			continue
		}
		f := protocol.StackFile{Name: "secrets/" + ref.Source, Secret: true}
		s.fileObject(&f, types.FileObjectConfig(c), types.FileReferenceConfig(ref), "secrets", "/run/secrets")
	}
}

// fileObject reads a config or a secret and mounts it; a relative target is
// below base.
func (s *serviceReader) fileObject(f *protocol.StackFile, c types.FileObjectConfig, ref types.FileReferenceConfig, kind, base string) {
	if bool(c.External) {
		return // refused by the table
	}
	at := []string{kind, ref.Source}
	if err := s.content(f, c); err != nil {
		if !s.plan {
			s.refuse(at, err.Error(), "it travels with the stack, so it must be here")
			return
		}
		s.warn(at, "%v: it must be here when the stack is brought up", err)
		f.Data = nil
	}
	s.addFile(*f, at)
	m := protocol.StackMount{Kind: protocol.MountFile, Source: f.Name, Target: ref.Target, ReadOnly: true, UID: ref.UID, GID: ref.GID}
	if m.Target == "" {
		m.Target = ref.Source
	}
	if !path.IsAbs(m.Target) {
		m.Target = path.Join(base, m.Target)
	}
	if ref.Mode != nil {
		m.Mode = uint32(*ref.Mode)
	}
	s.mount(m, kind)
}

// content reads what a config or a secret holds.
func (r *reader) content(f *protocol.StackFile, c types.FileObjectConfig) (err error) {
	switch {
	case c.File != "":
		p := c.File
		if rest, ok := strings.CutPrefix(p, "~/"); ok {
			p = filepath.Join(r.src.vars["HOME"], rest)
		}
		f.Data, err = readFile(absolute(r.dir, p))
		return err
	case c.Environment != "":
		v, ok := r.src.vars[c.Environment]
		if !ok {
			return fmt.Errorf("the variable %s is not set", c.Environment)
		}
		f.Data = []byte(v)
	case c.Content != "":
		f.Data = []byte(c.Content)
	default:
		return errors.New("it has no content")
	}
	f.Data = slices.Clip(f.Data)
	return nil
}
