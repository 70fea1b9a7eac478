package stack

import "time"

const (
	// backoffFirst is the pause before the second restart in a row, backoffMost the
	// longest; each is twice the one before. The first restart has none.
	backoffFirst = time.Second
	backoffMost  = 60 * time.Second
	// healthyAfter is how long an instance must have run, and been healthy, for its
	// earlier failures to be forgotten.
	healthyAfter = 10 * time.Minute
	// unhealthyRounds is after how many checks more an unhealthy instance is
	// restarted; defaultInterval is the engine's time between two.
	unhealthyRounds = 3
	defaultInterval = 30 * time.Second
	// defaultGrace is how long a service that says nothing has to stop.
	defaultGrace = 10 * time.Second
	// retryBlocked is after how long it is looked again for what a service waits
	// for and nobody tells of: a device, a folder, a volume, a port.
	retryBlocked = 15 * time.Second
	// reconnectFirst and reconnectMost are the pauses before the engine is
	// followed again.
	reconnectFirst = 100 * time.Millisecond
	reconnectMost  = 5 * time.Second
	// actionTimeout bounds one step but for a pull, whose bound is its progress.
	// A stop has its grace beside it.
	actionTimeout = 3 * time.Minute
	// lastLines and lastOutput bound what is told of the last words of an instance
	// that failed, and lastWordsTimeout how long the log is read for them: other news
	// wait for that.
	lastLines        = 10
	lastOutput       = 2 << 10
	lastWordsTimeout = 10 * time.Second
	// maxReason bounds a text for people.
	maxReason = 400
	// maxStateFile bounds the file that New reads.
	maxStateFile = 4 << 20
)

// backoff is the pause before a restart after so many failures in a row.
func backoff(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	pause := backoffFirst
	for i := 2; i < failures && pause < backoffMost; i++ {
		pause *= 2
	}
	return min(pause, backoffMost)
}
