//go:build !linux

package journal

// sync returns once the file's content is on disk.
func (f *logFile) sync() error { return f.Sync() }
