package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
)

// bbolt's file is a row of pages in the byte order of the machine:
//
//	page    id 8, flags 2, count 2, overflow 4; then the elements
//	branch  element: pos 4, key size 4, child's page 8
//	leaf    element: flags 4, pos 4, key size 4, value size 4
//	meta    magic 4, version 4, page size 4, flags 4, root page 8, root sequence 8,
//	        free list's page 8, pages used 8, transaction 8, FNV-1a of all that 8
//
// pos counts from the element's own start. The first two pages are metas; the
// valid one with the higher transaction counts. The root's leaves hold buckets:
// a page and a sequence, 8 bytes each; page 0 means that a whole leaf follows.
const (
	pageSize   = 4096 // of every file that the journal makes
	headSize   = 16
	elemSize   = 16
	metaSize   = 64
	bucketSize = 16

	branchFlag = 1
	leafFlag   = 2
	metaFlag   = 4
	freeFlag   = 16
	bucketElem = 1

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	noFreelist  = ^uint64(0)
	maxDepth    = 32
)

var order = binary.NativeEndian

// meta is one root of the file.
type meta struct {
	root, freelist, used, txid uint64
}

// image is a bbolt file, read without trust: whatever it holds, reading ends,
// takes no more memory than the file is large, and does not panic.
type image struct {
	file io.ReaderAt
	size int64
}

// metas returns the valid roots, the newest first.
func (im image) metas() []meta {
	var found []meta
	for i := range int64(2) {
		page := make([]byte, headSize+metaSize)
		if _, err := im.file.ReadAt(page, i*pageSize); err != nil {
			continue
		}
		if m, ok := parseMeta(page); ok {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b meta) int {
		if a.txid > b.txid {
			return -1
		}
		return 1
	})
	return found
}

func parseMeta(page []byte) (meta, bool) {
	p := page[headSize:]
	sum := fnv.New64a()
	sum.Write(p[:metaSize-8])
	ok := order.Uint16(page[8:]) == metaFlag && order.Uint32(p) == metaMagic && order.Uint32(p[4:]) == metaVersion &&
		order.Uint32(p[8:]) == pageSize && order.Uint64(p[metaSize-8:]) == sum.Sum64()
	return meta{
		root: order.Uint64(p[16:]), freelist: order.Uint64(p[32:]),
		used: order.Uint64(p[40:]), txid: order.Uint64(p[48:]),
	}, ok
}

// walker visits all records below one root.
type walker struct {
	image
	meta
	// visit gets every pair found, valid until it returns.
	visit func(bucket string, key, value []byte)
	// seen are the pages visited: none may be in the tree twice.
	seen map[uint64]bool
	// faults counts what was wrong, first is the first of it.
	faults int
	first  error
}

// walk visits what it can, and leaves in faults and first what it cannot.
func (im image) walk(m meta, visit func(bucket string, key, value []byte)) *walker {
	w := &walker{image: im, meta: m, visit: visit, seen: make(map[uint64]bool)}
	// The pages used are mapped, and may be read by bbolt, even the free ones.
	if m.used < 4 || m.used > uint64(im.size)/pageSize {
		w.fault("the file is cut short: %d bytes of %d pages", im.size, m.used)
	}
	if m.freelist != noFreelist {
		// Only a file without any commit has one, and it is empty.
		if p := w.page(m.freelist); p != nil && (order.Uint16(p[8:]) != freeFlag || order.Uint16(p[10:]) != 0) {
			w.fault("page %d: not an empty free list", m.freelist)
		}
	}
	w.tree(m.root, "", nil, nil, 0)
	return w
}

func (w *walker) fault(format string, args ...any) {
	w.faults++
	if w.first == nil {
		w.first = fmt.Errorf(format, args...)
	}
}

// page reads a page with its overflow; nil where it cannot be one of the tree.
func (w *walker) page(id uint64) []byte {
	head := make([]byte, headSize)
	if id < 2 || id >= min(w.used, uint64(w.size)/pageSize) {
		w.fault("page %d: out of bounds", id)
		return nil
	}
	if _, err := w.file.ReadAt(head, int64(id)*pageSize); err != nil {
		w.fault("page %d: %w", id, err)
		return nil
	}
	n := uint64(order.Uint32(head[12:])) + 1
	if order.Uint64(head) != id || n > w.used-id || int64(id+n)*pageSize > w.size {
		w.fault("page %d: its head is wrong", id)
		return nil
	}
	for i := id; i < id+n; i++ {
		if w.seen[i] {
			w.fault("page %d: it is used twice", i)
			return nil
		}
		w.seen[i] = true
	}
	p := make([]byte, n*pageSize)
	if _, err := w.file.ReadAt(p, int64(id)*pageSize); err != nil {
		w.fault("page %d: %w", id, err)
		return nil
	}
	return p
}

// tree visits the page and what is below it: keys from low on and before high,
// where they are not nil. Without a bucket it is the root's.
func (w *walker) tree(id uint64, bucket string, low, high []byte, depth int) {
	p := w.page(id)
	switch {
	case p == nil:
	case depth > maxDepth:
		w.fault("page %d: too deep", id)
	case order.Uint16(p[8:]) == leafFlag:
		w.leaf(id, p, bucket, low, high)
	case order.Uint16(p[8:]) == branchFlag:
		w.branch(id, p, bucket, low, high, depth)
	default:
		w.fault("page %d: neither branch nor leaf", id)
	}
}

func (w *walker) branch(id uint64, p []byte, bucket string, low, high []byte, depth int) {
	elems := w.elements(id, p, func(e []byte) (pos, key, value uint32) {
		return order.Uint32(e), order.Uint32(e[4:]), 0
	})
	if len(elems) == 0 {
		w.fault("page %d: an empty branch", id)
	}
	for i, e := range elems {
		next := high
		if i+1 < len(elems) {
			next = elems[i+1].key
		}
		w.inOrder(id, e.key, low, next)
		w.tree(order.Uint64(e.raw[8:]), bucket, e.key, next, depth+1)
		low = e.key
	}
}

func (w *walker) leaf(id uint64, p []byte, bucket string, low, high []byte) {
	elems := w.elements(id, p, func(e []byte) (pos, key, value uint32) {
		return order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
	})
	for i, e := range elems {
		next := high
		if i+1 < len(elems) {
			next = elems[i+1].key
		}
		w.inOrder(id, e.key, low, next)
		low = e.key
		isBucket := order.Uint32(e.raw) == bucketElem
		switch {
		case bucket == "" && isBucket && slices.Contains(buckets, string(e.key)) && len(e.value) >= bucketSize:
			w.bucket(id, string(e.key), e.value)
		case bucket != "" && order.Uint32(e.raw) == 0:
			w.visit(bucket, e.key, e.value)
		default:
			w.fault("page %d: something else than a record", id)
		}
	}
}

func (w *walker) bucket(id uint64, name string, value []byte) {
	if root := order.Uint64(value); root != 0 {
		w.tree(root, name, nil, nil, 1)
		return
	}
	p := value[bucketSize:]
	if len(p) < headSize || order.Uint16(p[8:]) != leafFlag {
		w.fault("page %d: bucket %s is no leaf", id, name)
		return
	}
	w.leaf(id, p, name, nil, nil)
}

// element is one of a page's, within its bounds.
type element struct {
	raw, key, value []byte
}

// elements returns those that lie within the page.
func (w *walker) elements(id uint64, p []byte, place func(e []byte) (pos, key, value uint32)) []element {
	count := int(order.Uint16(p[10:]))
	body := headSize + count*elemSize
	if body > len(p) {
		w.fault("page %d: more elements than it holds", id)
		return nil
	}
	var all []element
	for i := range count {
		at := headSize + i*elemSize
		raw := p[at : at+elemSize]
		pos, keySize, valueSize := place(raw)
		key := uint64(at) + uint64(pos)
		value := key + uint64(keySize)
		end := value + uint64(valueSize)
		if key < uint64(body) || end > uint64(len(p)) || keySize == 0 {
			w.fault("page %d: an element out of bounds", id)
			continue
		}
		all = append(all, element{raw, p[key:value], p[value:end]})
	}
	return all
}

// inOrder checks that low <= key < high.
func (w *walker) inOrder(id uint64, key, low, high []byte) {
	if low != nil && bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 {
		w.fault("page %d: keys out of order", id)
	}
}
