package protocol

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
)

// Normalize sets what a document may leave out: the sizes of files that have
// their content, and the defaults of restart policies and conditions.
func (s *Stack) Normalize() {
	for i := range s.Files {
		if f := &s.Files[i]; f.Size == 0 {
			f.Size = Bytes(len(f.Data))
		}
	}
	for i := range s.Services {
		svc := &s.Services[i]
		if svc.Restart == "" {
			svc.Restart = RestartOnFailure
		}
		for j := range svc.DependsOn {
			if d := &svc.DependsOn[j]; d.Condition == "" {
				d.Condition = ConditionStarted
			}
		}
	}
}

// WithoutData returns the stack as a plan needs it, and as anyone may see it:
// its files have no Data.
func (s Stack) WithoutData() Stack {
	s.Files = slices.Clone(s.Files)
	for i := range s.Files {
		s.Files[i].Data = nil
	}
	return s
}

// Complete reports whether no file lacks its content.
func (s *Stack) Complete() bool {
	return !slices.ContainsFunc(s.Files, func(f StackFile) bool { return len(f.Data) != int(f.Size) })
}

// Public returns the record as anyone may see it: without what its files hold,
// and without the signature and its salt, by which secrets could be guessed.
func (r StackRecord) Public() StackRecord {
	r.Stack = r.Stack.WithoutData()
	r.Signature, r.Salt = nil, nil
	return r
}

// SignedBytes returns what By signs: all that the asker decided. Files are in it
// by a salted digest. What the holder adds, numbers and whether it is stopped, is
// not.
func (r *StackRecord) SignedBytes() ([]byte, error) {
	signed := *r
	signed.Signature, signed.Stopped = nil, false
	signed.Stack = signed.Stack.WithoutData()
	signed.Stack.Services = slices.Clone(signed.Stack.Services)
	for i := range signed.Stack.Services {
		signed.Stack.Services[i].Number = 0
	}
	for i := range signed.Stack.Files {
		sum := sha256.Sum256(append(slices.Clip(r.Salt), r.Stack.Files[i].Data...))
		signed.Stack.Files[i].Data = sum[:]
	}
	raw, err := json.Marshal(&signed)
	if err != nil {
		return nil, Errorf(CodeInvalid, "stack: it cannot be encoded: %v", err)
	}
	return append([]byte("hearth/1 stack record\x00"), raw...), nil
}

// encodeRecord returns the record's JSON without the data of its files.
func encodeRecord(r StackRecord) ([]byte, error) {
	r.Stack = r.Stack.WithoutData()
	raw, err := json.Marshal(&r)
	if err != nil {
		return nil, Errorf(CodeInvalid, "stack: it cannot be encoded: %v", err)
	}
	if len(raw) > maxRecord {
		return nil, Errorf(CodeInvalid, "stack: its document takes %d bytes, the most is %d", len(raw), maxRecord)
	}
	return raw, nil
}

// decodeRecord is the other way. A field that is not known here is refused: the
// stack would be run without it.
func decodeRecord(raw []byte) (StackRecord, error) {
	var r StackRecord
	if len(raw) > maxRecord {
		return r, Errorf(CodeInvalid, "stack: its document takes %d bytes, the most is %d", len(raw), maxRecord)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return StackRecord{}, Errorf(CodeInvalid, "stack: %s", malformed(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return StackRecord{}, Errorf(CodeInvalid, "stack: something follows its document")
	}
	return r, nil
}

// malformed says what is wrong with a document without Go's words.
func malformed(err error) string {
	if _, field, ok := strings.Cut(err.Error(), "unknown field "); ok {
		return "the field " + shorten(field) + " is not known here: it was made by a newer hearth, so update this device"
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return "the field " + shorten(wrong.Field) + " holds a " + wrong.Value
	}
	return "its document is no JSON"
}

// maxRecord bounds a record's JSON without the data of its files: the stack, and
// what is known of it.
const maxRecord = MaxStack + 4<<10
