package protocol

import "strings"

// TagName is the tag that a request can be named by, beside its ID.
const TagName = "name"

// Bounds on tags, in bytes. All of them fit into a line of a list.
const (
	maxTags     = 64
	maxTagValue = 1024
	maxTagBytes = 16 << 10 // keys and values together
)

// checkTags checks what an asker writes on a request: keys are like those of
// labels, values are printable text.
func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return Errorf(CodeInvalid, "tag: %d of them, the most is %d", len(tags), maxTags)
	}
	total := 0
	for k, v := range tags {
		if err := checkPair("tag", k, v, maxTagValue); err != nil {
			return err
		}
		total += len(k) + len(v)
	}
	if total > maxTagBytes {
		return Errorf(CodeInvalid, "tag: all together take %d bytes, the most is %d", total, maxTagBytes)
	}
	return nil
}

// NamedBy reports whether text may mean the request: it is its ID, its name or
// the beginning of its ID. exact says that it is the ID.
func (i *RequestInfo) NamedBy(text RequestID) (named, exact bool) {
	exact = i.ID == text
	return exact || i.called(text) || strings.HasPrefix(string(i.ID), string(text)), exact
}

func (i *RequestInfo) called(text RequestID) bool { return i.Tags[TagName] == string(text) }

// Meant returns those of the requests that text means: the one with this ID;
// else those with this name, of which one that has ended gives way to one that has
// not; else those whose IDs begin so. More than one is ambiguous.
func Meant(text RequestID, among []RequestInfo) []RequestInfo {
	for _, is := range []func(*RequestInfo) bool{
		func(i *RequestInfo) bool { return i.ID == text },
		func(i *RequestInfo) bool { return i.called(text) && !i.Last.State.Ended() },
		func(i *RequestInfo) bool { return i.called(text) },
		func(i *RequestInfo) bool { return strings.HasPrefix(string(i.ID), string(text)) },
	} {
		var found []RequestInfo
		for i := range among {
			if is(&among[i]) {
				found = append(found, among[i])
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}
