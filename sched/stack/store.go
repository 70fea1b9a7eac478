package stack

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hearth-edge/hearth/protocol"
)

// A Sealer encrypts what nobody may read on the disk; *keys.Sealer is one.
type Sealer interface {
	Seal(plain, context []byte) []byte
	Open(sealed, context []byte) ([]byte, error)
}

// Phase is what a stack is to be.
type phase string

// The phases. What is being removed is removed whatever happens: its containers
// first, then its record. What is down has left data on this node, and keeps its
// record for that.
const (
	phaseUp       phase = ""
	phaseRemoving phase = "removing"
	phaseDown     phase = "down"
)

// kept is one version of a stack as it is on disk.
type kept struct {
	Record protocol.StackRecord `json:"record"`
	Phase  phase                `json:"phase,omitempty"`
	// Data says that volumes are removed, too; with phaseRemoving.
	Data bool `json:"data,omitempty"`
	// Pending is how many milliseconds it may take to be up: nobody knows yet
	// whether it is. 0 where that is known.
	Pending protocol.Milliseconds `json:"pending_ms,omitempty"`
	// Sealed holds what secret files hold, and the salt.
	Sealed []byte `json:"sealed,omitempty"`
}

// secretPart is what is sealed.
type secretPart struct {
	Salt  []byte            `json:"salt"`
	Files map[string][]byte `json:"files"`
}

// A store keeps records on disk: a file for each version, which is whole or not
// there. It is written to another name, synced and renamed.
//
//	magic, 8 bytes | CRC-32C of the rest, 4 bytes | JSON of kept
type store struct {
	dir    string
	sealer Sealer
	log    *slog.Logger
}

const storeMagic = "hearthS1"

// errDamaged is what a file is that was changed since it was written.
var errDamaged = errors.New("it has changed since it was written")

func openStore(dir string, sealer Sealer, log *slog.Logger) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &store{dir: dir, sealer: sealer, log: log}, nil
}

// load returns all that is kept, the latest version of each stack first. A
// damaged file is put aside and named in damaged: the version before it counts then.
func (s *store) load() (all map[protocol.StackName][]kept, damaged []string, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, nil, err
	}
	all = make(map[protocol.StackName][]kept)
	for _, e := range entries {
		path := filepath.Join(s.dir, e.Name())
		name, version, ok := parseFileName(e.Name())
		switch {
		case strings.HasSuffix(e.Name(), damagedSuffix):
			damaged = append(damaged, e.Name())
			continue
		case strings.HasSuffix(e.Name(), partSuffix):
			_ = os.Remove(path) // was never renamed
			continue
		case !ok:
			continue
		}
		k, err := s.read(path)
		if err == nil && (k.Record.Stack.Name != name || k.Record.Version != version) {
			err = errDamaged
		}
		if err == nil {
			all[name] = append(all[name], k)
			continue
		}
		s.log.Error("a stack's record cannot be read and is put aside", "file", path, "err", err)
		damaged = append(damaged, e.Name()+damagedSuffix)
		if err := os.Rename(path, path+damagedSuffix); err != nil {
			return nil, nil, err
		}
	}
	for name := range all {
		slices.SortFunc(all[name], func(a, b kept) int { return int(int64(b.Record.Version) - int64(a.Record.Version)) })
	}
	return all, damaged, nil
}

const damagedSuffix, partSuffix = ".damaged", ".part"

func fileName(name protocol.StackName, version uint64) string {
	return fmt.Sprintf("%s.%d", name, version)
}

func parseFileName(file string) (protocol.StackName, uint64, bool) {
	text, digits, _ := strings.Cut(file, ".")
	name, err := protocol.ParseStackName(text)
	version, err2 := strconv.ParseUint(digits, 10, 64)
	return name, version, err == nil && err2 == nil && fileName(name, version) == file
}

func (s *store) read(path string) (kept, error) {
	info, err := os.Stat(path)
	if err != nil {
		return kept{}, err
	}
	if info.Size() > maxFile {
		return kept{}, errDamaged
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return kept{}, err
	}
	k, err := decodeKept(raw)
	if err != nil {
		return kept{}, err
	}
	return k, s.open(&k)
}

// decodeKept reads a file's content.
func decodeKept(raw []byte) (kept, error) {
	if len(raw) < len(storeMagic)+4 || string(raw[:len(storeMagic)]) != storeMagic {
		return kept{}, errDamaged
	}
	sum, content := binary.BigEndian.Uint32(raw[len(storeMagic):]), raw[len(storeMagic)+4:]
	if crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return kept{}, errDamaged
	}
	var k kept
	if err := json.Unmarshal(content, &k); err != nil {
		return kept{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err := k.Record.Stack.Validate(); err != nil {
		return kept{}, err
	}
	return k, nil
}

func encodeKept(k *kept) ([]byte, error) {
	content, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	raw := append([]byte(storeMagic), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(raw[len(storeMagic):], crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)))
	return append(raw, content...), nil
}

// put writes one version down, and returns when it is on the disk. A full disk is
// an *protocol.Error with CodeDiskFull; what was there before is there then.
func (s *store) put(k kept) error {
	s.seal(&k)
	raw, err := encodeKept(&k)
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, fileName(k.Record.Stack.Name, k.Record.Version))
	if err := writeSynced(path, raw); err != nil {
		return storeError(err)
	}
	return nil
}

func storeError(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return protocol.Errorf(protocol.CodeDiskFull, "the state folder is on a full disk: the stack is as it was")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return protocol.Errorf(protocol.CodeInternal, "the state folder cannot be written: the stack is as it was")
	}
	return err
}

// writeSynced puts a file in place of what was there, or leaves that.
func writeSynced(path string, raw []byte) (err error) {
	part := path + partSuffix
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// delete forgets versions, the last one given last: as long as that is there, so
// is the stack.
func (s *store) delete(name protocol.StackName, versions ...uint64) error {
	for _, v := range versions {
		if err := os.Remove(filepath.Join(s.dir, fileName(name, v))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storeError(err)
		}
	}
	return syncFolder(s.dir)
}

// seal takes out of k what nobody may read.
func (s *store) seal(k *kept) {
	secret := secretPart{Salt: k.Record.Salt, Files: make(map[string][]byte)}
	k.Record.Stack.Files = slices.Clone(k.Record.Stack.Files)
	for i := range k.Record.Stack.Files {
		if f := &k.Record.Stack.Files[i]; f.Secret {
			secret.Files[f.Name], f.Data = f.Data, nil
		}
	}
	k.Record.Salt, k.Sealed = nil, nil
	if len(secret.Salt)+len(secret.Files) == 0 {
		return
	}
	plain, _ := json.Marshal(&secret) // of bytes: it cannot fail
	k.Sealed = s.sealer.Seal(plain, sealContext(&k.Record))
}

// open puts it back.
func (s *store) open(k *kept) error {
	if len(k.Sealed) == 0 {
		return nil
	}
	plain, err := s.sealer.Open(k.Sealed, sealContext(&k.Record))
	if err != nil {
		return fmt.Errorf("its secrets cannot be opened, as the seed or the secret of this device has changed: %w", err)
	}
	var secret secretPart
	if err := json.Unmarshal(plain, &secret); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	k.Record.Salt, k.Sealed = secret.Salt, nil
	for i := range k.Record.Stack.Files {
		if f := &k.Record.Stack.Files[i]; f.Secret {
			f.Data = secret.Files[f.Name]
		}
	}
	return nil
}

func sealContext(r *protocol.StackRecord) []byte {
	return []byte("stack " + fileName(r.Stack.Name, r.Version))
}
