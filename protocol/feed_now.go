package protocol

// ReaderOfNow attaches a reader like Reader, which gets what is in the feed at
// this moment and then io.EOF, however much follows meanwhile.
func (f *Feed) ReaderOfNow(stdout, stderr uint64) *FeedReader {
	r := f.Reader(stdout, stderr)
	f.mu.Lock()
	defer f.mu.Unlock()
	r.bounded, r.until = true, f.seq
	return r
}

// withinBound returns of what comes next only what a bounded reader may read.
func (r *FeedReader) withinBound(e *entry, p *piece) (*entry, *piece) {
	if r.bounded {
		if e != nil && e.seq > r.until {
			e = nil
		}
		if p != nil && p.seq > r.until {
			p = nil
		}
	}
	return e, p
}
