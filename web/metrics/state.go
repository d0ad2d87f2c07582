package metrics

// State is what a server can say about itself at one moment.
type State struct {
	DHCP        DHCP
	Leases      int
	Sessions    []Session
	Contents    map[string]int // by kind
	Damaged     int            // contents
	Stored      int64          // bytes of all contents
	Free        int64          // bytes that the library's file system has left
	Devices     map[string]int // by state
	EventsLost  uint64
	Deployments []Deployment
}

// DHCP counts packets since the server started.
type DHCP struct {
	Answered, Silent, Malformed, Limited, Dropped, Failed uint64
}

// Session is a multicast session, running or ended.
type Session struct {
	ID        string
	Content   string // id
	Interface string
	State     string         // waiting, sending, idle or ended
	Rate      float64        // bits per second, measured
	Target    float64        // bits per second, allowed
	Sent      uint64         // bytes of symbols
	Repair    uint64         // of Sent
	Members   map[string]int // by state
	Loss      float64        // the worst of those that receive, 0 to 1
	Injectors int            // addresses of others that members get datagrams from
}

// Deployment is how far a deployment is.
type Deployment struct {
	Name    string
	Targets map[string]int // by state
}
