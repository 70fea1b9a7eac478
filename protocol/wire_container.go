package protocol

import (
	"math"

	"github.com/hearth-edge/hearth/protocol/pb"
)

func targetToPB(t *Target) *pb.Target {
	if t.Request != "" {
		return &pb.Target{Target: &pb.Target_Request{Request: &pb.RequestTarget{Request: string(t.Request), Attempt: t.Attempt}}}
	}
	return &pb.Target{Target: &pb.Target_Service{Service: &pb.ServiceTarget{Stack: string(t.Stack), Service: t.Service}}}
}

// targetFromPB decodes a target; whoever has it validates it.
func targetFromPB(p *pb.Target) Target {
	switch v := p.GetTarget().(type) {
	case *pb.Target_Request:
		return Target{Request: RequestID(v.Request.GetRequest()), Attempt: v.Request.GetAttempt()}
	case *pb.Target_Service:
		return Target{Stack: StackName(v.Service.GetStack()), Service: v.Service.GetService()}
	}
	return Target{}
}

func execToPB(e *Exec) *pb.Exec {
	return &pb.Exec{
		Target: targetToPB(&e.Target), Args: e.Args, Env: e.Env, WorkDir: e.WorkDir, User: e.User, Stdin: e.Stdin,
		Tty: e.TTY, TtyRows: uint32(e.TTYRows), TtyColumns: uint32(e.TTYColumns), Detach: e.Detach,
	}
}

func execFromPB(p *pb.Exec) (Exec, error) {
	if p.GetTtyRows() > math.MaxUint16 || p.GetTtyColumns() > math.MaxUint16 {
		return Exec{}, Errorf(CodeInvalid, "terminal: %d rows and %d columns, the most of each is %d", p.GetTtyRows(), p.GetTtyColumns(), math.MaxUint16)
	}
	e := Exec{
		Target: targetFromPB(p.GetTarget()), Args: p.GetArgs(), Env: p.GetEnv(), WorkDir: p.GetWorkDir(), User: p.GetUser(),
		Stdin: p.GetStdin(), TTY: p.GetTty(), TTYRows: uint16(p.GetTtyRows()), TTYColumns: uint16(p.GetTtyColumns()), Detach: p.GetDetach(),
	}
	return e, e.Validate()
}

func dialToPB(d *Dial) *pb.Dial {
	return &pb.Dial{Target: targetToPB(&d.Target), Port: uint32(d.Port), Udp: d.UDP, Published: d.Published}
}

func dialFromPB(p *pb.Dial) (Dial, error) {
	if p.GetPort() > math.MaxUint16 {
		return Dial{}, Errorf(CodeInvalid, "port: %d is none: it is 1 to 65535", p.GetPort())
	}
	d := Dial{Target: targetFromPB(p.GetTarget()), Port: uint16(p.GetPort()), UDP: p.GetUdp(), Published: p.GetPublished()}
	return d, d.Validate()
}

func copyToPB(c *Copy) *pb.Copy {
	return &pb.Copy{Target: targetToPB(&c.Target), Path: c.Path, Into: c.Into, Contents: c.Contents, FollowLink: c.FollowLink}
}

func copyFromPB(p *pb.Copy) (Copy, error) {
	c := Copy{
		Target: targetFromPB(p.GetTarget()), Path: p.GetPath(), Into: p.GetInto(), Contents: p.GetContents(), FollowLink: p.GetFollowLink(),
	}
	return c, c.Validate()
}
