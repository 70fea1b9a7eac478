package journal

import (
	"github.com/hearth-edge/hearth/protocol"
)

// A Sealer encrypts what must not be on disk in clear, with a key that is not in
// the journal. Context is what it belongs to: it opens under the same one only.
type Sealer interface {
	Seal(plain, context []byte) []byte
	Open(sealed, context []byte) ([]byte, error)
}

// seal returns what the secrets of a request's service hold, one after the other
// and sealed; nil where there are none.
func (j *Journal) seal(r *Record) ([]byte, error) {
	if len(r.Service.Secrets) == 0 {
		return nil, nil
	}
	if j.opts.Sealer == nil {
		return nil, protocol.Errorf(protocol.CodeInternal, "this device has no key to keep secrets with")
	}
	var plain []byte
	for _, s := range r.Service.Secrets {
		if len(s.Data) != int(s.Size) {
			return nil, protocol.Errorf(protocol.CodeInvalid, "secret: the content of %s is missing", s.Name)
		}
		plain = append(plain, s.Data...)
	}
	return j.opts.Sealer.Seal(plain, []byte(r.ID)), nil
}

// unseal gives the secrets of a record back what they hold. Where that cannot be
// read they stay without: the request goes on, and can be offered to no other node.
func (j *Journal) unseal(r *Record, sealed []byte) {
	if j.opts.Sealer == nil || len(sealed) == 0 {
		return
	}
	plain, err := j.opts.Sealer.Open(sealed, []byte(r.ID))
	if err != nil {
		j.log.Error("the secrets of a request cannot be read", "request", r.ID, "err", err)
		return
	}
	total := 0
	for _, s := range r.Service.Secrets {
		total += int(s.Size)
	}
	if total != len(plain) {
		j.log.Error("the secrets of a request have another size than they had", "request", r.ID)
		return
	}
	for i := range r.Service.Secrets {
		s := &r.Service.Secrets[i]
		if s.Size == 0 {
			continue
		}
		s.Data, plain = plain[:s.Size:s.Size], plain[s.Size:]
	}
}
