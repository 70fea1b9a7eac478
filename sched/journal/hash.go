package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/hearth-edge/hearth/protocol"
)

// ServiceHash returns a hash that is the same for services that ask for the
// same, and different for others: nil and empty are one, the order of a map does
// not count, and a field with its zero value adds nothing, so that hashes stay
// what they were when protocol.Service gets a new field. The size of the terminal
// does not count: who comes back to a request may have another one.
//
// Of secrets, names and sizes count: the hash is on disk, and a short password
// could be found by trying.
//
// It is the SHA-256 of the fields that are not zero, each as its name and its
// value, with all lengths before what they measure.
func ServiceHash(s protocol.Service) [sha256.Size]byte {
	s = s.WithoutSecrets()
	s.TTYRows, s.TTYColumns = 0, 0
	return sha256.Sum256(appendValue(make([]byte, 0, 512), reflect.ValueOf(s)))
}

// appendValue appends v so that different values of one type never give the
// same bytes.
func appendValue(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.String:
		return appendText(b, v.String())
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return binary.AppendVarint(b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return binary.AppendUvarint(b, v.Uint())
	case reflect.Float32, reflect.Float64:
		return binary.BigEndian.AppendUint64(b, math.Float64bits(v.Float()))
	case reflect.Slice, reflect.Array:
		b = binary.AppendUvarint(b, uint64(v.Len()))
		for i := range v.Len() {
			b = appendValue(b, v.Index(i))
		}
		return b
	case reflect.Map:
		return appendMap(b, v)
	case reflect.Struct:
		return appendStruct(b, v)
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, 0)
		}
		return appendValue(append(b, 1), v.Elem())
	}
	// Only a field of a new kind in protocol.Service gets here; a test of the
	// package hashes a service with every field set.
	panic(fmt.Sprintf("journal: a service holds a %v, which has no hash", v.Type()))
}

// appendMap appends the pairs in the order of their keys' bytes.
func appendMap(b []byte, v reflect.Value) []byte {
	pairs := make([]string, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		pairs = append(pairs, string(appendValue(appendValue(nil, it.Key()), it.Value())))
	}
	slices.Sort(pairs)
	b = binary.AppendUvarint(b, uint64(len(pairs)))
	for _, p := range pairs {
		b = appendText(b, p)
	}
	return b
}

// appendStruct appends the fields that are not empty, and an empty name.
func appendStruct(b []byte, v reflect.Value) []byte {
	for i := range v.NumField() {
		if f := v.Field(i); !empty(f) {
			b = appendText(b, v.Type().Field(i).Name)
			b = appendValue(b, f)
		}
	}
	return appendText(b, "")
}

func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Float32, reflect.Float64:
		return v.Float() == 0 // minus zero too
	case reflect.Struct:
		for i := range v.NumField() {
			if !empty(v.Field(i)) {
				return false
			}
		}
		return true
	}
	return v.IsZero()
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
