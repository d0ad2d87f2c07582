package main

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/windows/svc"
)

// runService runs f as a service of Windows, until it ends or the service is stopped.
func runService(ctx context.Context, name string, f func(context.Context) error) error {
	s := &service{ctx: ctx, run: f}
	if err := svc.Run(name, s); err != nil {
		return fmt.Errorf("run as a service, which Windows' service manager starts: %w", err)
	}
	return s.err
}

type service struct {
	ctx context.Context
	run func(context.Context) error
	err error
}

var errStopped = errors.New("the service was stopped")

// Execute implements svc.Handler. A failure is one that has Windows start the service
// again.
func (s *service) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (bool, uint32) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	running := svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
	status <- running
	for {
		select {
		case s.err = <-done:
			if s.err != nil && !errors.Is(s.err, errStopped) {
				return true, 1
			}
			return false, 0
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				status <- r.CurrentStatus
			case svc.Stop, svc.Shutdown:
				status <- svc.Status{State: svc.StopPending}
				cancel(errStopped)
			}
		}
	}
}
