package protocol

import (
	"context"
	"strings"
)

// A Target names a container that runs, by what it belongs to: a request, or a
// service of a stack.
type Target struct {
	// Request may be shortened to a unique beginning where Attempt is 0, and an
	// app may write ID@DEVICE.
	Request RequestID
	// Attempt is 0 where the device that is asked looks after the request. Else
	// that device runs this attempt, for the device that asks.
	Attempt uint32
	// Stack and Service name an instance, where Request is empty. An app may write
	// STACK@DEVICE. A device that is asked by another one holds the stack.
	Stack   StackName
	Service string
}

// String returns the target as a person writes it.
func (t Target) String() string {
	if t.Request != "" {
		return string(t.Request)
	}
	return string(t.Stack) + "/" + t.Service
}

// ParseTarget reads REQUEST, REQUEST@DEVICE or STACK/SERVICE. The error is an
// *Error with CodeInvalid.
func ParseTarget(s string) (Target, error) {
	var t Target
	if stack, service, ok := strings.Cut(s, "/"); ok {
		t.Stack, t.Service = StackName(stack), service
	} else {
		t.Request = RequestID(s)
	}
	return t, t.validate()
}

// An Exec is one more command to run in a container.
type Exec struct {
	Target Target
	// Args are the command and its arguments; no entrypoint comes before them.
	Args []string
	// Env is added to the container's own.
	Env []string
	// WorkDir and User are the container's where they are empty.
	WorkDir, User string
	Stdin         bool
	// TTY gives the command a terminal, of that size where it is known. Its
	// output is then all on Stdout.
	TTY                 bool
	TTYRows, TTYColumns uint16
	// Detach ends the session when the command has started. The command goes on
	// without it, and its output is dropped.
	Detach bool
}

// A Dial is a connection to a port of a container.
type Dial struct {
	Target Target
	Port   uint16
	UDP    bool
	// Published says that Port is one that the stack publishes; the service that
	// has it is then not named by Target.
	Published bool
}

// A Copy moves files out of a container or into it, as a tar archive.
type Copy struct {
	Target Target
	// Path is absolute, in the container.
	Path string
	// Into gives the session's input to the container; else its files are the
	// session's output, below one entry that is named as Path is.
	//
	// The archive that goes in has one file or folder at its top. It goes below
	// Path where that is a folder, else it takes the name Path.
	Into bool
	// Contents puts what is in the archive below the folder Path, whatever it is
	// called; the folder is made where there is none. It is for Into only.
	Contents bool
	// FollowLink takes what a symbolic link leads to, where Path is one. It is
	// not for Into.
	FollowLink bool
}

// Containers reaches into containers that run: by a device's apps, and by other
// devices. The node's owner decides who may (CodePolicy). CodeNotFound says that
// there is no such container, CodeConflict that it does not run (yet, or any
// more), CodePortClosed that nothing listens,
// CodeNodeLost that its node cannot be reached.
type Containers interface {
	// Exec runs a command. The session's events are running, then the end with
	// the command's exit code; a command that cannot be run is CodeStartFailed
	// with 126 or 127. Where the container ends under it, the end says so. When
	// the session is closed before, the command is ended: by HUP where it has a
	// terminal, else TERM, then KILL. ctx bounds the wait for the acceptance.
	Exec(ctx context.Context, e Exec) (Session, error)
	// Dial connects. The stream keeps half-closes, and is reset when the
	// container, its node or the connection is lost. ctx bounds the wait for the
	// connection only.
	Dial(ctx context.Context, d Dial) (Stream, error)
	// Copy moves an archive. The session's end says whether all of it was
	// written or read. ctx bounds the wait for the acceptance.
	Copy(ctx context.Context, c Copy) (Session, error)
}

// Validate checks that e is well-formed and within bounds; the error is an
// *Error with CodeInvalid.
func (e *Exec) Validate() error {
	if err := e.Target.validate(); err != nil {
		return err
	}
	if len(e.Args) == 0 || e.Args[0] == "" {
		return Errorf(CodeInvalid, "args: no command is named")
	}
	if err := checkArgs(e.Args); err != nil {
		return err
	}
	if err := checkEnv(e.Env); err != nil {
		return err
	}
	if err := checkText("workdir", e.WorkDir, maxPath); err != nil {
		return err
	}
	switch {
	case e.WorkDir != "" && e.WorkDir[0] != '/':
		return Errorf(CodeInvalid, "workdir: %q is not absolute: start it with /", shorten(e.WorkDir))
	case (e.TTYRows > 0 || e.TTYColumns > 0) && !e.TTY:
		return Errorf(CodeInvalid, "terminal: it has a size, and is not asked for")
	case e.Detach && e.Stdin:
		return Errorf(CodeInvalid, "detach: a command that goes on by itself gets no input")
	}
	return checkText("user", e.User, maxUser)
}

// Validate checks that d is well-formed and within bounds; the error is an
// *Error with CodeInvalid.
func (d *Dial) Validate() error {
	if d.Port == 0 {
		return Errorf(CodeInvalid, "port: it is 1 to 65535")
	}
	if !d.Published {
		return d.Target.validate()
	}
	if d.Target.Service != "" || d.Target.Request != "" {
		return Errorf(CodeInvalid, "target: a published port is one of a stack, not of a service or a request")
	}
	_, err := ParseStackName(string(d.Target.Stack))
	return err
}

// Validate checks that c is well-formed and within bounds; the error is an
// *Error with CodeInvalid.
func (c *Copy) Validate() error {
	if err := c.Target.validate(); err != nil {
		return err
	}
	if err := checkText("path", c.Path, maxPath); err != nil {
		return err
	}
	switch {
	case c.Path == "" || c.Path[0] != '/':
		return Errorf(CodeInvalid, "path: %q is not absolute: start it with /", shorten(c.Path))
	case c.Contents && !c.Into, c.FollowLink && c.Into:
		return Errorf(CodeInvalid, "copy: contents are for what goes in, links followed for what comes out")
	}
	return nil
}

func (t *Target) validate() error {
	if t.Request == "" {
		if t.Stack == "" && t.Service == "" {
			return Errorf(CodeInvalid, "target: it is missing: name a request, or STACK/SERVICE")
		}
		if t.Attempt != 0 {
			return Errorf(CodeInvalid, "target: a service has no attempts")
		}
		if _, err := stackRef(string(t.Stack)); err != nil {
			return err
		}
		return checkServiceName(t.Service)
	}
	if t.Stack != "" || t.Service != "" {
		return Errorf(CodeInvalid, "target: it is a request or a service, not both")
	}
	if t.Attempt != 0 {
		_, err := ParseRequestID(string(t.Request))
		return err
	}
	_, err := requestRef(string(t.Request))
	return err
}

// checkServiceName checks a service's name: what is none names nothing that there
// is.
func checkServiceName(name string) error {
	if name == "" || len(name) > maxLabelKey || !alphanumeric(name[0]) {
		return Errorf(CodeInvalid, "service: %q is not a name: write STACK/SERVICE", shorten(name))
	}
	return checkWordOf("service", name, maxLabelKey)
}
