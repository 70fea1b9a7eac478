package door

import "time"

const (
	// maxConns bounds the connections of a listener. Past it the oldest one that
	// has not shown a token is closed; where all have, the new one is.
	maxConns = 512
	// maxHeader bounds the header of an HTTP request in bytes; more is answered
	// with 431.
	maxHeader = 16 << 10
	// headerTimeout bounds how long a client may take to send a header,
	// idleTimeout how long a connection may wait for the next request.
	headerTimeout, idleTimeout = 5 * time.Second, time.Minute
	// shutdownTimeout is how long answers may go on at the end of Run.
	shutdownTimeout = time.Second
	// portTries is how many ports after a taken one are tried, before any does.
	portTries = 10
	// maxSocketPath is how long the path of a unix socket may be: the kernel keeps
	// 108 bytes, of which one ends it.
	maxSocketPath = 107

	// MaxBody bounds the body of a request in bytes, unless its handler says
	// otherwise; more is answered with 413.
	MaxBody = 64 << 10
	// BodyTimeout bounds how long a client may take to send such a body.
	BodyTimeout = 10 * time.Second

	// maxTokens bounds the tokens of a device; expired ones do not count.
	maxTokens = 256
	// maxTokensFile bounds what is read of tokens.json, in bytes.
	maxTokensFile = 256 << 10
	// maxTokenName bounds a token's name in bytes.
	maxTokenName = 64
	// maxTokenTTL is how long a token may last; without one it does not expire.
	maxTokenTTL = 10 * 365 * 24 * time.Hour
)
