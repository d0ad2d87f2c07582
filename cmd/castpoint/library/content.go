package library

import (
	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
)

// NewContent are the commands about contents.
func NewContent(o *cli.Options) *cobra.Command {
	return command.Group("content", "Work with the content library",
		newAdd(o), newList(o), newShow(o), newSet(o), newUpdate(o), newAttach(o), newDetach(o), newValidate(o), newRepair(o),
		newRemove(o), newGC(o), newExport(o), newImport(o))
}
