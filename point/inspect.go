package point

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"castpoint/boot/winpe"
	"castpoint/content"
	"castpoint/content/inspect"
	"castpoint/internal/confine"
)

// CommandInspect is the command of castpoint that inspects files apart, by Inspect.
const CommandInspect = "inspect-files"

// inspectLimits are those of the inspection of one content. The metadata of a Windows
// image are some 100 MiB at most, and are read within seconds.
func inspectLimits() confine.Limits {
	return confine.Limits{Memory: 1 << 30, CPU: 2 * time.Minute, Time: 15 * time.Minute}
}

// inspection is the part of a request that says what is in its files.
type inspection struct {
	Kind    content.Kind `json:"kind"`
	Path    string       `json:"path"`
	Initrd  string       `json:"initrd,omitempty"`
	Loaders string       `json:"loaders,omitempty"`
	Index   int          `json:"index,omitempty"`
	Arch    string       `json:"arch,omitempty"`
}

func (i *inspection) request() content.AddRequest {
	return content.AddRequest{Kind: i.Kind, Path: i.Path, Initrd: i.Initrd, Loaders: i.Loaders, Index: i.Index, Arch: i.Arch, Name: "inspected"}
}

// inspectApart inspects files in a process of its own, with limits. What is wrong with
// them this process finds as well, and says it better; a file that has that process die
// is never read here.
func inspectApart(limits confine.Limits) func(ctx context.Context, req content.AddRequest) error {
	return func(ctx context.Context, req content.AddRequest) error { return inspectWithin(ctx, limits, req) }
}

func inspectWithin(ctx context.Context, limits confine.Limits, req content.AddRequest) error {
	input, err := json.Marshal(inspection{req.Kind, req.Path, req.Initrd, req.Loaders, req.Index, req.Arch})
	if err != nil {
		return fmt.Errorf("inspect %s: %w", req.Path, err)
	}
	_, err = confine.Run(ctx, limits, []string{CommandInspect}, input)
	exceeded, met := errors.AsType[*confine.ExceededError](err)
	switch {
	case err == nil:
		return nil
	case met:
		return fmt.Errorf("%w file %s: its inspection was ended, because %w: the file is damaged, or made to do harm", content.ErrFile, req.Path, exceeded)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fmt.Errorf("inspect %s in a process of its own: %w", req.Path, err)
}

// Inspect reads a request, and the files that it names, in a process that has nothing
// else to do. An error is one of the inspection itself: files that are wrong are none.
func Inspect(ctx context.Context, in io.Reader) error {
	if err := confine.Enter(); err != nil {
		return err
	}
	var i inspection
	if err := json.NewDecoder(in).Decode(&i); err != nil {
		return fmt.Errorf("what to inspect: %w", err)
	}
	c, err := inspect.Inspect(ctx, i.request())
	if err != nil || c.Kind != content.KindBootImage || len(c.Images) == 0 {
		return nil // the process that asks finds the same
	}
	// What is read of a boot image once machines boot it.
	if f, err := os.Open(i.Path); err == nil {
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			if img, err := winpe.Open(f, info.Size(), i.Index, winpe.Options{}); err == nil {
				_ = img.Report()
			}
		}
	}
	return nil
}
