package protocol

import (
	"math"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// MaxStatus is the most bytes that an encoded status takes.
const MaxStatus = 16 << 10

// ReasonDraining is why a device with Status.Draining takes no offer.
const ReasonDraining = "is draining: it takes no new work until 'hearth drain --off' there"

// Bounds on a Status.
const (
	// MaxStatusAddresses is the most addresses that a status names.
	MaxStatusAddresses = 12
	// MaxStatusInterval is the longest time between two statuses of a device.
	MaxStatusInterval = time.Hour

	maxTemperature   = 1000
	maxAccelerators  = 8
	maxScore         = 1e12
	maxDrivers       = 8
	maxMissingLimits = 8
	maxWord          = 32 // bytes of an architecture, an OS or a driver
	maxCount         = 1 << 20
)

// EncodeStatus returns s as it is gossiped. Amounts of cores are rounded to
// thousandths. The error is an *Error with CodeInvalid where a field is out of
// bounds.
func EncodeStatus(s Status) ([]byte, error) {
	s.Version = clip(s.Version, maxName)
	if err := s.validate(); err != nil {
		return nil, err
	}
	s.ClaimedName, s.CopyAddress = "", ""
	p := statusToPB(&s)
	if n := proto.Size(p); n > MaxStatus {
		return nil, Errorf(CodeInvalid, "score: it takes %d bytes, the most is %d", n, MaxStatus)
	}
	return marshal(nil, p)
}

// DecodeStatus decodes what EncodeStatus returned, on another device perhaps. It
// accepts nothing that is out of bounds; the error is an *Error with CodeInvalid.
func DecodeStatus(b []byte) (Status, error) {
	if len(b) > MaxStatus {
		return Status{}, Errorf(CodeInvalid, "score: %d bytes, the most is %d", len(b), MaxStatus)
	}
	p := new(pb.Score)
	if err := unmarshal(b, p); err != nil {
		return Status{}, err
	}
	p.ClaimedName, p.CopyAddress = "", ""
	return statusFromPB(p)
}

func statusToPB(s *Status) *pb.Score {
	return &pb.Score{
		Node: string(s.Node), Name: s.Name, Sequence: s.Sequence, Beat: durationToPB(s.Interval),
		Role: pb.Role(s.Role), Rating: s.Score, Speed: s.Speed,
		Cpus: toMilli(s.CPUs), CpuOthers: toMilli(s.CPUOthers), CpuFree: toMilli(s.CPUFree),
		Slots: s.Slots, Running: s.Running, Queued: s.Queued,
		MemoryTotal: uint64(s.MemoryTotal), MemoryFree: uint64(s.MemoryFree), DiskFree: uint64(s.DiskFree),
		Arch: s.Arch, Os: s.OS, Drivers: s.Drivers, Labels: s.Labels,
		Images: s.Images, ImageSizes: s.ImageSizes, Accelerators: s.Accelerators, Temperature: s.Temperature,
		Throttled: uint32(math.Round(s.Throttled * 1000)), PullRate: uint64(s.PullRate), Addresses: s.Addresses,
		Draining: s.Draining, Version: s.Version, ClaimedName: s.ClaimedName, CopyAddress: s.CopyAddress,
		NotReady: s.NotReady, LongRunning: longRunningToPB(&s.LongRunning), Youngest: durationToPB(s.Youngest),
		MissingLimits: s.MissingLimits, Stacks: publishedToPB(s.Stacks, s.UnnamedStacks),
	}
}

func statusFromPB(p *pb.Score) (Status, error) {
	interval, err := durationFromPB("interval", p.GetBeat())
	if err != nil {
		return Status{}, err
	}
	if p.GetRole() < 0 || p.GetRole() > pb.Role_ROLE_NODE {
		return Status{}, Errorf(CodeInvalid, "role: %d is not known here", p.GetRole())
	}
	s := Status{
		Node: PeerID(p.GetNode()), Name: p.GetName(), Sequence: p.GetSequence(), Interval: interval,
		Role: Role(p.GetRole()), Score: p.GetRating(), Speed: p.GetSpeed(),
		CPUs: fromMilli(p.GetCpus()), CPUOthers: fromMilli(p.GetCpuOthers()), CPUFree: fromMilli(p.GetCpuFree()),
		Slots: p.GetSlots(), Running: p.GetRunning(), Queued: p.GetQueued(),
		MemoryTotal: Bytes(p.GetMemoryTotal()), MemoryFree: Bytes(p.GetMemoryFree()), DiskFree: Bytes(p.GetDiskFree()),
		Arch: p.GetArch(), OS: p.GetOs(), Drivers: p.GetDrivers(), Labels: p.GetLabels(),
		Images: p.GetImages(), ImageSizes: p.GetImageSizes(), Accelerators: p.GetAccelerators(),
		Temperature: p.GetTemperature(), Throttled: float64(p.GetThrottled()) / 1000, PullRate: Bytes(p.GetPullRate()),
		Addresses: p.GetAddresses(), Draining: p.GetDraining(), Version: clip(p.GetVersion(), maxName), NotReady: p.GetNotReady(),
		MissingLimits: p.GetMissingLimits(),
		ClaimedName:   p.GetClaimedName(), CopyAddress: p.GetCopyAddress(),
	}
	if s.LongRunning, err = longRunningFromPB(p.GetLongRunning()); err != nil {
		return Status{}, err
	}
	if s.Youngest, err = durationFromPB("youngest", p.GetYoungest()); err != nil {
		return Status{}, err
	}
	if s.Stacks, s.UnnamedStacks, err = publishedFromPB(p.GetStacks()); err != nil {
		return Status{}, err
	}
	if err := s.validate(); err != nil {
		return Status{}, err
	}
	return s, nil
}

func toMilli(c Cores) uint32   { return uint32(math.Round(float64(c) * 1000)) }
func fromMilli(m uint32) Cores { return Cores(m) / 1000 }

// validate checks every bound that both ends of gossip rely on.
func (s *Status) validate() error {
	if _, err := ParsePeerID(string(s.Node)); err != nil {
		return err
	}
	if s.Interval < 0 || s.Interval > MaxStatusInterval {
		return Errorf(CodeInvalid, "interval: %v is out of bounds: 0 to %v", s.Interval, MaxStatusInterval)
	}
	if s.Role > RoleNode {
		return Errorf(CodeInvalid, "role: %d is not known here", s.Role)
	}
	if err := s.validateAmounts(); err != nil {
		return err
	}
	if err := s.validateWords(); err != nil {
		return err
	}
	if len(s.Images) > MaxStatusImages {
		return Errorf(CodeInvalid, "images: %d of them, the most is %d", len(s.Images), MaxStatusImages)
	}
	if n := len(s.ImageSizes); n != 0 && n != len(s.Images) {
		return Errorf(CodeInvalid, "image sizes: %d of them for %d images", n, len(s.Images))
	}
	if err := s.LongRunning.validate(); err != nil {
		return err
	}
	if err := validatePublished(s.Stacks); err != nil {
		return err
	}
	return checkWords("address", s.Addresses, MaxStatusAddresses, maxAddress)
}

func (l *LongRunning) validate() error {
	return checkAmounts(
		amount{"long_running.count", float64(l.Count), maxCount},
		amount{"long_running.cpus", float64(l.CPUs), maxCPUs},
		amount{"long_running.memory", float64(l.Memory), maxMemory},
	)
}

func (s *Status) validateAmounts() error {
	return checkAmounts([]amount{
		{"rating", s.Score, maxScore},
		{"speed", s.Speed, maxScore},
		{"cpus", float64(s.CPUs), maxCPUs},
		{"cpu_others", float64(s.CPUOthers), maxCPUs},
		{"cpu_free", float64(s.CPUFree), maxCPUs},
		{"slots", float64(s.Slots), maxCount},
		{"running", float64(s.Running), maxCount},
		{"queued", float64(s.Queued), maxCount},
		{"memory_total", float64(s.MemoryTotal), maxMemory},
		{"memory_free", float64(s.MemoryFree), maxMemory},
		{"disk_free", float64(s.DiskFree), math.MaxUint64},
		{"temperature", float64(s.Temperature), maxTemperature},
		{"throttled", s.Throttled, 1},
		{"pull_rate", float64(s.PullRate), maxMemory},
	}...)
}

// An amount is a field with its value and the most that it may be.
type amount struct {
	field     string
	is, limit float64
}

func checkAmounts(all ...amount) error {
	for _, v := range all {
		if err := checkAmount(v.field, v.is, v.limit); err != nil {
			return err
		}
	}
	return nil
}

func (s *Status) validateWords() error {
	if err := checkWords("names", []string{s.Name, s.ClaimedName}, 2, maxName); err != nil {
		return err
	}
	if err := checkWords("address of a copy", []string{s.CopyAddress}, 1, maxAddress); err != nil {
		return err
	}
	if err := checkWords("version", []string{s.Version}, 1, maxName); err != nil {
		return err
	}
	if err := checkWords("arch and os", []string{s.Arch, s.OS}, 2, maxWord); err != nil {
		return err
	}
	if err := checkWords("drivers", s.Drivers, maxDrivers, maxWord); err != nil {
		return err
	}
	if err := checkWords("accelerators", s.Accelerators, maxAccelerators, maxWord); err != nil {
		return err
	}
	if err := checkWords("missing_limits", s.MissingLimits, maxMissingLimits, maxWord); err != nil {
		return err
	}
	if len(s.Labels) > maxLabels {
		return Errorf(CodeInvalid, "labels: %d of them, the most is %d", len(s.Labels), maxLabels)
	}
	for k, v := range s.Labels {
		if err := ValidateLabel(k, v); err != nil {
			return err
		}
	}
	return nil
}

// checkWords checks a short list of short texts without control characters.
func checkWords(field string, words []string, count, limit int) error {
	if len(words) > count {
		return Errorf(CodeInvalid, "%s: %d of them, the most is %d", field, len(words), count)
	}
	for _, w := range words {
		if err := checkText(field, w, limit); err != nil {
			return err
		}
		if strings.ContainsFunc(w, unicode.IsControl) {
			return Errorf(CodeInvalid, "%s: %q has control characters", field, w)
		}
	}
	return nil
}
