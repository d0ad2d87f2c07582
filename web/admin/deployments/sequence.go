package deployments

import (
	"context"
	"net/http"
	"strings"

	"castpoint/deploy/revision"
	"castpoint/deploy/sequence"
	"castpoint/web/access"
	"castpoint/web/api"
)

func (s *operations) sequenceOperations(a *api.API) {
	const tag = "sequences"
	api.Answer(a, api.Operation{
		ID: "list-sequences", Method: http.MethodGet, Path: "/sequences", Scope: access.Read, Tag: tag,
		Summary: "List task sequences",
		About:   "In the order of their names.",
	}, rolled(s, func(_ context.Context, in *api.PageQuery) (api.Page[revision.SequenceInfo], error) {
		return api.Cut(s.Rollout.Sequences.All(), func(q *revision.SequenceInfo) string { return strings.ToLower(q.Name) }, *in), nil
	}))
	api.Answer(a, api.Operation{
		ID: "put-sequence", Method: http.MethodPost, Path: "/sequences", Scope: access.Operate, Tag: tag, MaxBody: sequence.MaxFile,
		Summary: "Add a task sequence (YAML), or a new revision of the one that has its name",
		About:   "A text with an error is refused, and each is named with its line; warnings are in the answer. Runs that have begun keep the revision that they began with.",
	}, rolled(s, func(ctx context.Context, in *SequenceBody) (revision.SequenceText, error) {
		q, err := s.Rollout.Sequences.Put(ctx, string(in.RawBody), access.Name(ctx))
		if err == nil {
			api.Note(ctx, "%s, revision %d", q.Name, q.Revision)
		}
		return q, err
	}))
	api.Answer(a, api.Operation{
		ID: "check-sequence", Method: http.MethodPost, Path: "/sequences/check", Scope: access.Read, Tag: tag, Reads: true, MaxBody: sequence.MaxFile,
		Summary: "Say what is wrong with a task sequence (YAML)",
		About:   "Nothing is kept. Contents that it names and that are not in the library are warnings.",
	}, rolled(s, func(_ context.Context, in *SequenceBody) (SequenceCheck, error) {
		return s.checkSequence(in.RawBody), nil
	}))
	api.Answer(a, api.Operation{
		ID: "get-sequence", Method: http.MethodGet, Path: "/sequences/{id}", Scope: access.Read, Tag: tag,
		Summary: "A task sequence: its text and what was read of it",
		About:   "The newest revision, or another.",
	}, rolled(s, func(_ context.Context, in *struct {
		NamedPath
		Revision int `query:"revision" doc:"left out for the newest"`
	}) (revision.SequenceText, error) {
		return s.Rollout.Sequences.Get(in.ID, in.Revision)
	}))
	api.Act(a, api.Operation{
		ID: "remove-sequence", Method: http.MethodDelete, Path: "/sequences/{id}", Scope: access.Operate, Tag: tag,
		Summary: "Delete a task sequence",
		About:   "Refused while a deployment or a run has it.",
		Errors:  []int{http.StatusConflict},
	}, rolledAct(s, func(ctx context.Context, in *NamedPath) error { return s.Rollout.RemoveSequence(ctx, in.ID) }))
	api.Serve(a, api.Operation{
		ID: "get-sequence-schema", Method: http.MethodGet, Path: "/sequence-schema", Scope: access.Read, Tag: tag, Sends: "application/schema+json",
		Summary: "The JSON Schema of task sequences",
		About:   "For editors that check and complete YAML.",
	}, func(_ context.Context, _ *struct{}, w http.ResponseWriter, _ *http.Request) error {
		schema, err := sequence.Schema()
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/schema+json")
		_, _ = w.Write(schema) // the client may have gone
		return nil
	})
	api.Answer(a, api.Operation{
		ID: "list-templates", Method: http.MethodGet, Path: "/sequence-templates", Scope: access.Read, Tag: tag,
		Summary: "The task sequences that castpoint brings along",
		About:   "Texts to start from, with castpoint sequence template.",
	}, func(context.Context, *struct{}) ([]Template, error) {
		var list []Template
		for _, name := range sequence.Templates() {
			text, err := sequence.Template(name)
			if err != nil {
				return nil, err
			}
			parsed, err := sequence.Parse(text)
			if err != nil {
				return nil, err
			}
			list = append(list, Template{name, parsed.Description, string(text)})
		}
		return list, nil
	})
}

// SequenceBody is a task sequence as people write it.
type SequenceBody struct {
	RawBody []byte `contentType:"application/yaml"`
}

// Template is a task sequence that castpoint brings along.
type Template struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Text        string `json:"text"`
}

// SequenceCheck says what is wrong with a task sequence.
type SequenceCheck struct {
	Usable   bool               `json:"usable"`
	Name     string             `json:"name,omitempty"`
	Steps    int                `json:"steps,omitempty"`
	Problems []sequence.Problem `json:"problems" nullable:"false"`
}

// checkSequence adds to what the text shows which contents are missing here.
func (s *operations) checkSequence(text []byte) SequenceCheck {
	parsed, problems := sequence.Check(text)
	c := SequenceCheck{Usable: parsed != nil, Problems: append([]sequence.Problem{}, problems...)}
	for _, p := range problems {
		c.Usable = c.Usable && p.Warning
	}
	if parsed == nil {
		return c
	}
	c.Name, c.Steps = parsed.Name, len(parsed.Leaves())
	for _, name := range parsed.ContentNames(func(name string) (string, bool) { v := parsed.Variables[name].Value; return v, v != "" }) {
		if _, err := s.Library.Get(name); err != nil {
			c.Problems = append(c.Problems, sequence.Problem{Text: err.Error(), Warning: true})
		}
	}
	return c
}
