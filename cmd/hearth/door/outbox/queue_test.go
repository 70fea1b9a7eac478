package outbox

import (
	"fmt"
	"testing"
)

// Past its bound the oldest goes and is counted; of what stands for what came before,
// the newest alone waits, also when an older one comes back.
func TestQueueKeepsTheNewest(t *testing.T) {
	q := newQueue()
	for i := range maxQueue + 3 {
		q.put(message{topic: fmt.Sprint(i)})
	}
	if m, ok := q.take(); !ok || m.topic != "3" || q.dropped != 3 {
		t.Errorf("%v, %s, %d dropped", ok, m.topic, q.dropped)
	}
	q = newQueue()
	for _, text := range []string{"a", "b"} {
		q.put(message{topic: "x", payload: []byte(text), latest: true, retained: true})
	}
	m, _ := q.take()
	if _, more := q.take(); more || string(m.payload) != "b" {
		t.Errorf("%s, more: %v", m.payload, more)
	}
	q.put(message{topic: "x", payload: []byte("c"), latest: true, retained: true})
	q.back(m)
	q.restore()
	m, _ = q.take()
	if _, more := q.take(); more || string(m.payload) != "c" {
		t.Errorf("%s, more: %v", m.payload, more)
	}
}
