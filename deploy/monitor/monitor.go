package monitor

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/deploy"
	"castpoint/deploy/rollout"
)

// Config is what a Monitor needs.
type Config struct {
	Register *rollout.Register // required
	Devices  *deploy.Devices   // required
	// Notify is told what people are to be told; nil when nobody cares. It may not
	// wait.
	Notify func(Notice)
	// Wake sends Wake-on-LAN packets to a card; nil sends none.
	Wake func(net.HardwareAddr) error
	Now  func() time.Time // nil: the system's clock
	Log  *zap.Logger
}

// Monitor watches the deployments of a Register. Its methods are safe for concurrent
// use. Close ends it.
type Monitor struct {
	cfg  Config
	log  *zap.Logger
	now  func() time.Time
	stop chan struct{}
	done sync.WaitGroup
	once sync.Once

	mu      sync.Mutex
	alerted map[string]time.Time // deployments that people were told of, as changed then

	woken  map[string]time.Time // by deployment and device; routine's own, as
	looked time.Time            // when it was last looked what is due
}

// New makes a Monitor, which is told by the Register from then on.
func New(cfg Config) (*Monitor, error) {
	if cfg.Register == nil || cfg.Devices == nil {
		return nil, errors.New("monitor: deployments and devices are needed")
	}
	if cfg.Notify == nil {
		cfg.Notify = func(Notice) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	m := &Monitor{
		cfg: cfg, log: cfg.Log, now: cfg.Now, stop: make(chan struct{}), alerted: make(map[string]time.Time), woken: make(map[string]time.Time),
	}
	cfg.Register.WhenEnded(m.checkAlert)
	m.done.Go(m.routine)
	return m, nil
}

// tick is how often is done what is due.
const tick = 15 * time.Second

// routine wakes devices before a required start, and has runs fail whose machines have
// not come back.
func (m *Monitor) routine() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-t.C:
			m.wakeDue()
			m.cfg.Register.LoseDue(context.Background())
		}
	}
}

// Close ends the work in the background.
func (m *Monitor) Close() {
	m.once.Do(func() { close(m.stop) })
	m.done.Wait()
}
