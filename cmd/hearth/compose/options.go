package compose

import (
	"fmt"
	"path/filepath"
)

// Options say which files make up a stack and how they are read.
type Options struct {
	// Files are compose files, the later ones over the earlier; "-" is the
	// standard input. Without any they are those of COMPOSE_FILE, or of the usual
	// names in Dir.
	Files []string
	// ProjectName names the stack. Without one it is COMPOSE_PROJECT_NAME, the
	// files' own `name`, or the name of the project's folder.
	ProjectName string
	// Profiles are those whose services take part; COMPOSE_PROFILES without any.
	Profiles []string
	// EnvFiles give variables; ".env" in the project's folder without any.
	EnvFiles []string
	// Dir is the project's folder, which relative paths start from; without one
	// the first file's.
	Dir string
	// Env is the environment as os.Environ returns it. It wins over EnvFiles.
	Env []string
	// Plan reads for a plan only: files that are missing beside the compose file
	// are warnings then, not errors.
	Plan bool
}

// A Position is a line of a file; the zero Position is nowhere.
type Position struct {
	File string
	Line int
}

// String returns FILE:LINE with the file's base name, or nothing.
func (p Position) String() string {
	if p.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", filepath.Base(p.File), p.Line)
}

// A Warning tells what the reader changed or left out and what stops nothing.
type Warning struct {
	Position
	Text string
}

// String returns the warning for people.
func (w Warning) String() string {
	if w.File == "" {
		return w.Text
	}
	return w.Position.String() + ": " + w.Text
}
