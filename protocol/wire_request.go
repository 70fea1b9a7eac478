package protocol

import (
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// EncodedSize is how many bytes the service takes on the wire.
func (s *Service) EncodedSize() int { return proto.Size(serviceToPB(s)) }

// Same reports whether other is the same service, so that a request's ID may be
// given to both. The size of the terminal does not count, since who comes back to
// a request may have another one; nor does what secrets hold, which is not kept.
func (s *Service) Same(other *Service) bool {
	x, y := s.WithoutSecrets(), other.WithoutSecrets()
	a, b := serviceToPB(&x), serviceToPB(&y)
	a.TtyRows, a.TtyColumns, b.TtyRows, b.TtyColumns = 0, 0, 0, 0
	return proto.Equal(a, b)
}

func serviceToPB(s *Service) *pb.Service {
	return &pb.Service{
		Image: s.Image, Args: s.Args, Entrypoint: s.Entrypoint, Env: s.Env,
		WorkDir: s.WorkDir, User: s.User,
		Cpus: float64(s.CPUs), Memory: uint64(s.Memory),
		Stdin: s.Stdin, Timeout: durationToPB(s.Timeout),
		Node: s.Constraints.Node, Labels: s.Constraints.Labels, NotHere: s.Constraints.NotHere,
		Tty: s.TTY, Network: s.Network, Mounts: mountsToPB(s.Mounts), Devices: s.Devices,
		Capabilities: s.Capabilities, Accelerator: s.Accelerator, Retry: s.Retry,
		NoEntrypoint: s.NoEntrypoint, Tmpfs: tmpfsToPB(s.Tmpfs), ReadOnlyRoot: s.ReadOnlyRoot,
		ShmSize: uint64(s.ShmSize), Hostname: s.Hostname, Pull: string(s.Pull),
		TtyRows: uint32(s.TTYRows), TtyColumns: uint32(s.TTYColumns),
		Tags: s.Tags, Secrets: secretsToPB(s.Secrets), AutoRemove: s.AutoRemove,
	}
}

func tmpfsToPB(list []Tmpfs) []*pb.Tmpfs {
	var p []*pb.Tmpfs
	for _, t := range list {
		p = append(p, &pb.Tmpfs{Target: t.Target, Size: uint64(t.Size), Mode: t.Mode, Exec: t.Exec})
	}
	return p
}

func tmpfsFromPB(p []*pb.Tmpfs) []Tmpfs {
	var list []Tmpfs
	for _, t := range p {
		list = append(list, Tmpfs{Target: t.GetTarget(), Size: Bytes(t.GetSize()), Mode: t.GetMode(), Exec: t.GetExec()})
	}
	return list
}

// pullFromPB takes docker's name of the default for the zero value.
func pullFromPB(p string) PullPolicy {
	if p == "missing" {
		return PullMissing
	}
	return PullPolicy(p)
}

func mountsToPB(mounts []Mount) []*pb.Mount {
	var p []*pb.Mount
	for _, m := range mounts {
		p = append(p, &pb.Mount{Source: m.Source, Target: m.Target, Writable: m.Writable})
	}
	return p
}

func mountsFromPB(p []*pb.Mount) []Mount {
	var mounts []Mount
	for _, m := range p {
		mounts = append(mounts, Mount{Source: m.GetSource(), Target: m.GetTarget(), Writable: m.GetWritable()})
	}
	return mounts
}

// serviceFromPB decodes and validates a service.
func serviceFromPB(p *pb.Service) (Service, error) {
	if p == nil {
		return Service{}, missing("service")
	}
	timeout, err := durationFromPB("timeout", p.Timeout)
	if err != nil {
		return Service{}, err
	}
	if p.TtyRows > math.MaxUint16 || p.TtyColumns > math.MaxUint16 {
		return Service{}, Errorf(CodeInvalid, "terminal: %d rows and %d columns, the most of each is %d", p.TtyRows, p.TtyColumns, math.MaxUint16)
	}
	s := Service{
		Image: p.Image, Args: p.Args, Entrypoint: p.Entrypoint, Env: p.Env,
		WorkDir: p.WorkDir, User: p.User,
		CPUs: Cores(p.Cpus), Memory: Bytes(p.Memory), Stdin: p.Stdin, TTY: p.Tty, Timeout: timeout,
		Network: p.Network, Mounts: mountsFromPB(p.Mounts), Devices: p.Devices,
		Capabilities: p.Capabilities, Accelerator: p.Accelerator, Retry: p.Retry,
		NoEntrypoint: p.NoEntrypoint, Tmpfs: tmpfsFromPB(p.Tmpfs), ReadOnlyRoot: p.ReadOnlyRoot,
		ShmSize: Bytes(p.ShmSize), Hostname: p.Hostname, Pull: pullFromPB(p.Pull),
		TTYRows: uint16(p.TtyRows), TTYColumns: uint16(p.TtyColumns),
		Tags: p.Tags, Secrets: secretsFromPB(p.Secrets), AutoRemove: p.AutoRemove,
		Constraints: Constraints{Node: p.Node, Labels: p.Labels, NotHere: p.NotHere},
	}
	return s, s.Validate()
}

// wholeServiceFromPB is serviceFromPB for one that is to be run.
func wholeServiceFromPB(p *pb.Service) (Service, error) {
	s, err := serviceFromPB(p)
	if err != nil {
		return Service{}, err
	}
	return s, s.checkComplete()
}

func offerToPB(o *Offer) *pb.Offer {
	return &pb.Offer{
		Request: string(o.Request), Attempt: o.Attempt, Service: serviceToPB(&o.Service),
		Bound: durationToPB(o.Bound), Forced: o.Forced, Lease: durationToPB(o.Lease),
		MaxWait: durationToPB(o.MaxWait),
		ImageId: o.ImageID.bytes(),
	}
}

func offerFromPB(p *pb.Offer) (Offer, error) {
	request, err := ParseRequestID(p.GetRequest())
	if err != nil {
		return Offer{}, err
	}
	if p.GetAttempt() == 0 {
		return Offer{}, Errorf(CodeInvalid, "attempt: it counts from 1")
	}
	bound, err := durationFromPB("bound", p.GetBound())
	if err != nil {
		return Offer{}, err
	}
	lease, err := durationFromPB("lease", p.GetLease())
	if err != nil {
		return Offer{}, err
	}
	if lease > maxLease {
		return Offer{}, Errorf(CodeInvalid, "lease: %v, the most is %v", lease, maxLease)
	}
	maxWait, err := durationFromPB("max_wait", p.GetMaxWait())
	if err != nil {
		return Offer{}, err
	}
	service, err := wholeServiceFromPB(p.GetService())
	if err != nil {
		return Offer{}, err
	}
	image, err := imageIDFromBytes(p.GetImageId())
	if err != nil {
		return Offer{}, err
	}
	return Offer{
		Request: request, Attempt: p.GetAttempt(), Service: service, Bound: bound, Forced: p.GetForced(), Lease: lease,
		MaxWait: maxWait,
		ImageID: image,
	}, nil
}

func renewToPB(r *Renewal) *pb.Renew {
	return &pb.Renew{Request: string(r.Request), Attempt: r.Attempt}
}

func renewFromPB(p *pb.Renew) (Renewal, error) {
	request, err := ParseRequestID(p.GetRequest())
	if err != nil {
		return Renewal{}, err
	}
	if p.GetAttempt() == 0 {
		return Renewal{}, Errorf(CodeInvalid, "attempt: it counts from 1")
	}
	return Renewal{Request: request, Attempt: p.GetAttempt()}, nil
}

func attachToPB(a *Attach) *pb.Attach {
	return &pb.Attach{
		Request: string(a.Request), Attempt: a.Attempt, Stdout: a.Stdout, Stderr: a.Stderr,
		NoFollow: a.NoFollow, NoOutput: a.NoOutput, Since: durationToPB(a.Since),
		Forget: a.Forget,
	}
}

func attachFromPB(p *pb.Attach) (Attach, error) {
	request, err := requestRef(p.GetRequest())
	if err != nil {
		return Attach{}, err
	}
	if p.GetStdout() > math.MaxInt64 || p.GetStderr() > math.MaxInt64 {
		return Attach{}, Errorf(CodeInvalid, "offset: it is out of bounds")
	}
	since, err := durationFromPB("since", p.GetSince())
	if err != nil {
		return Attach{}, err
	}
	return Attach{
		Request: request, Attempt: p.GetAttempt(), Stdout: p.GetStdout(), Stderr: p.GetStderr(),
		NoFollow: p.GetNoFollow(), NoOutput: p.GetNoOutput(), Since: since,
		Forget: p.GetForget(),
	}, nil
}

func runToPB(r *Run) *pb.Run {
	return &pb.Run{Request: string(r.ID), Service: serviceToPB(&r.Service), Detach: r.Detach}
}

func runFromPB(p *pb.Run) (Run, error) {
	id, err := optionalRequest(p.GetRequest())
	if err != nil {
		return Run{}, err
	}
	service, err := wholeServiceFromPB(p.GetService())
	if err != nil {
		return Run{}, err
	}
	return Run{ID: id, Service: service, Detach: p.GetDetach()}, nil
}
