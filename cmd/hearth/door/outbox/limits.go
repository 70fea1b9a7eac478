package outbox

import "time"

const (
	// maxQueue bounds the messages that wait for a target; past it the oldest is
	// dropped, and counted.
	maxQueue = 1024
	// maxTries bounds how often a webhook is tried with one message; then that is
	// dropped, and counted. A broker is tried until the device ends.
	maxTries = 5
	// sendTimeout bounds one try.
	sendTimeout = 10 * time.Second
	// minBackoff doubles with each failure up to maxBackoff.
	minBackoff, maxBackoff = time.Second, time.Minute
	// keepAlive is how often a broker hears of a client that has nothing to say.
	keepAlive = time.Minute
	// maxSecret bounds a file with a password or a key in bytes.
	maxSecret = 4 << 10
	// maxBrokers bounds the brokers that clients of the edge API use, and
	// maxSubscriptions what they subscribed to; one more is refused.
	maxBrokers, maxSubscriptions = 16, 256
	// maxPayload bounds a message of theirs in bytes; of a longer one that comes
	// nothing is kept.
	maxPayload = 64 << 10
	// maxName bounds a topic, and the ID of an app, in bytes.
	maxName = 512
)
