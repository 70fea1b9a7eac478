package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// minTransfer is the least that a pull must have moved to tell something
	// of the rate: small ones only show how quick the registry answers.
	minTransfer = 1 << 20
	// newestPull is the weight of the newest pull in the moving average: about
	// three count.
	newestPull = 0.5
	// worthKeeping is by how much the rate must have changed to be written
	// down: a cold start's estimate need not be better, and cards wear out.
	worthKeeping = 0.2
	rateFile     = "pull.json"
	maxRateFile  = 4 << 10
)

// A transfer is how far a pull has come. It begins at the first news, so that
// what others had fetched before this one joined in does not count.
type transfer struct {
	began       time.Time
	first, last protocol.Bytes
}

func (t *transfer) step(now time.Time, moved protocol.Bytes) {
	if t.began.IsZero() {
		t.began, t.first = now, moved
	}
	t.last = moved
}

// rate returns bytes a second up to now, when the image is there; 0 where too
// little was moved to tell.
func (t *transfer) rate(now time.Time) float64 {
	took := now.Sub(t.began).Seconds()
	if t.last < t.first+minTransfer || took <= 0 {
		return 0
	}
	return float64(t.last-t.first) / took
}

// pullRate is the moving average of the rates of pulls.
type pullRate struct {
	rate protocol.Bytes // a second; 0 is not known
	kept protocol.Bytes // what is in the file
}

// add notes a pull's rate and reports whether the average is worth keeping.
func (r *pullRate) add(rate float64) bool {
	if r.rate != 0 {
		rate = float64(r.rate) + newestPull*(rate-float64(r.rate))
	}
	r.rate = protocol.Bytes(max(rate, 1))
	if math.Abs(float64(r.rate)-float64(r.kept)) <= worthKeeping*float64(r.kept) {
		return false
	}
	r.kept = r.rate
	return true
}

// pulled notes that an image came at that rate; 0 tells nothing.
func (n *Node) pulled(rate float64) {
	if rate == 0 {
		return
	}
	n.mu.Lock()
	keep, kept := n.pulls.add(rate), n.pulls.kept
	n.mu.Unlock()
	if !keep || n.cfg.Dir == "" {
		return
	}
	if err := savePullRate(n.cfg.Dir, kept); err != nil {
		n.cfg.Log.Warn("how fast images are fetched is not kept", "err", err)
	}
}

// keptRate is what the file holds.
type keptRate struct {
	BytesPerSecond protocol.Bytes `json:"bytes_per_second"`
}

// loadPullRate returns what an earlier process kept: nothing where there is
// none, or none that makes sense.
func loadPullRate(dir string) pullRate {
	if dir == "" {
		return pullRate{}
	}
	file, err := os.Open(filepath.Join(dir, rateFile))
	if err != nil {
		return pullRate{}
	}
	defer file.Close()
	var kept keptRate
	if err := json.NewDecoder(io.LimitReader(file, maxRateFile)).Decode(&kept); err != nil || kept.BytesPerSecond > math.MaxInt64 {
		return pullRate{}
	}
	return pullRate{rate: kept.BytesPerSecond, kept: kept.BytesPerSecond}
}

// savePullRate replaces the file as a whole, so that a crash leaves the old or
// the new. Two that do so at once leave either's.
func savePullRate(dir string, rate protocol.Bytes) error {
	b, err := json.Marshal(keptRate{rate})
	if err != nil {
		return fmt.Errorf("keep the pull rate: %w", err)
	}
	next, err := os.CreateTemp(dir, rateFile+".*")
	if err != nil {
		return fmt.Errorf("keep the pull rate: %w", err)
	}
	_, err = next.Write(append(b, '\n'))
	err = errors.Join(err, next.Close())
	if err == nil {
		err = os.Rename(next.Name(), filepath.Join(dir, rateFile))
	}
	if err != nil {
		return fmt.Errorf("keep the pull rate: %w", errors.Join(err, os.Remove(next.Name())))
	}
	return nil
}
