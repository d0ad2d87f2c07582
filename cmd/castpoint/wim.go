package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/content/wim"
)

// openWIM opens a file and says how long it is.
func openWIM(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

func newWIMInfo(o *options) *cobra.Command {
	return o.addJSON(&cobra.Command{
		Use: "info FILE", Short: "Say what is in a WIM file", Args: cobra.ExactArgs(1),
		Example: "  castpoint wim info install.wim",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, size, err := openWIM(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := wim.Describe(f, size)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			out := cmd.OutOrStdout()
			if o.json {
				return printJSON(out, info)
			}
			rows := [][]string{
				{"file", args[0]}, {"size", agent.Size(info.Size)}, {"guid", info.GUID},
				{"compression", string(info.Compression)}, {"integrity table", yesNo(info.Integrity)},
				{"part", fmt.Sprintf("%d of %d", info.Part, info.Parts)}, {"boot index", strconv.Itoa(info.BootIndex)},
			}
			if err := table(out, rows); err != nil {
				return err
			}
			fmt.Fprintln(out)
			rows = [][]string{{"INDEX", "NAME", "EDITION", "VERSION", "ARCH", "LANGUAGES", "FILES", "SIZE"}}
			for _, i := range info.Images {
				rows = append(rows, []string{
					strconv.Itoa(i.Index), orDash(i.Name), orDash(i.Edition), orDash(i.Version), orDash(i.Arch),
					orDash(strings.Join(i.Languages, " ")), strconv.FormatInt(i.Files, 10), agent.Size(i.TotalBytes),
				})
			}
			return table(out, rows)
		},
	})
}

func newWIMVerify(o *options) *cobra.Command {
	return o.addJSON(&cobra.Command{
		Use: "verify FILE", Short: "Check a WIM file against its integrity table", Args: cobra.ExactArgs(1),
		Long: `Verify hashes a WIM file against the integrity table inside it.

Exit codes: 0 good, 1 damaged or no WIM, 3 without a table, so that only the
structure was checked.`,
		Example: "  castpoint wim verify install.wim",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, size, err := openWIM(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			progress, clear := meter(cmd.ErrOrStderr(), "verify "+filepath.Base(args[0]))
			err = wim.Verify(ctx, f, size, progress)
			clear()
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), map[string]any{"file": args[0], "size": size, "good": true})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: good\n", args[0])
			return err
		},
	})
}
