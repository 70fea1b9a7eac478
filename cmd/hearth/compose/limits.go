package compose

import "github.com/hearth-edge/hearth/protocol"

// Bounds on what is read. What is larger is refused with its size.
const (
	// maxFile is the most bytes of a compose file, an env file or a label file.
	maxFile = 1 << 20
	// maxSources is the most compose files that are read for one stack, the
	// included ones too.
	maxSources = 64
	// maxNodes is the most values of one file, those behind aliases counted each
	// time that they are used. Compose-go has the same bound.
	maxNodes = 100_000
	// maxDepth is how deep values of a file may be nested.
	maxDepth = 100
	// maxName is the most characters of a stack's name.
	maxName = 63
	// maxRequired is the most required variables of one value that a plan does
	// without.
	maxRequired = 16
	// maxRefusals and maxQuote bound what an error tells.
	maxRefusals = 20
	maxQuote    = 80
	// maxExpose is the most ports of one service that are noted, not published.
	maxExpose = 128
	// maxFolderFiles is the most files of a folder that travels with a stack.
	maxFolderFiles = 1000
	// maxTravel is the most bytes of all files that travel with a stack.
	maxTravel = protocol.MaxStackFiles
)
