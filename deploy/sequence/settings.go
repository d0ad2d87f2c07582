package sequence

// WindowsSettings become the unattend.xml of the Windows that was applied.
type WindowsSettings struct {
	Target        string `yaml:"target" json:"target" doc:"The volume of Windows."`
	ComputerName  string `yaml:"computer-name,omitempty" json:"computer-name,omitempty" doc:"Its name, at most 15 characters; * for a random one."`
	Owner         string `yaml:"owner,omitempty" json:"owner,omitempty" doc:"The registered owner."`
	Organization  string `yaml:"organization,omitempty" json:"organization,omitempty"`
	ProductKey    string `yaml:"product-key,omitempty" json:"product-key,omitempty" doc:"Five groups of five characters."`
	TimeZone      string `yaml:"time-zone,omitempty" json:"time-zone,omitempty" doc:"As Windows names it: W. Europe Standard Time."`
	UILanguage    string `yaml:"ui-language,omitempty" json:"ui-language,omitempty" doc:"As in de-DE."`
	SystemLocale  string `yaml:"system-locale,omitempty" json:"system-locale,omitempty" doc:"Without it the language."`
	UserLocale    string `yaml:"user-locale,omitempty" json:"user-locale,omitempty" doc:"Without it the language."`
	InputLocale   string `yaml:"input-locale,omitempty" json:"input-locale,omitempty" doc:"Keyboard: 0407:00000407 or de-DE; without it the language."`
	AdminPassword string `yaml:"admin-password,omitempty" json:"admin-password,omitempty" doc:"Of the local administrator, whose account is enabled by it; give it by a secret variable."`
	SkipWelcome   *bool  `yaml:"skip-welcome,omitempty" json:"skip-welcome,omitempty" doc:"No questions at the first start; true without it."`
	Template      string `yaml:"template,omitempty" json:"template,omitempty" format:"xml" doc:"The text of an unattend.xml to begin with, instead of castpoint's own; variables are replaced in it, and what XML does not take in their values is written so that it does."`
}

// NetworkSettings are added to unattend.xml.
type NetworkSettings struct {
	Target    string    `yaml:"target" json:"target" doc:"The volume of Windows."`
	Workgroup string    `yaml:"workgroup,omitempty" json:"workgroup,omitempty" doc:"The workgroup; not together with domain."`
	Domain    *Domain   `yaml:"domain,omitempty" json:"domain,omitempty" doc:"The domain that it joins."`
	Adapters  []Adapter `yaml:"adapters,omitempty" json:"adapters,omitempty" doc:"Network cards with fixed settings; all others use DHCP."`
}

// Domain is a domain and who may join machines to it.
type Domain struct {
	Name     string `yaml:"name" json:"name" doc:"Its DNS name."`
	OU       string `yaml:"ou,omitempty" json:"ou,omitempty" doc:"Where the account is made: OU=Clients,DC=example,DC=com."`
	Account  string `yaml:"account" json:"account" doc:"Who joins it: EXAMPLE\\join or join@example.com."`
	Password string `yaml:"password" json:"password" doc:"The account's password; give it by a secret variable."`
}

// Adapter is one network card.
type Adapter struct {
	MAC       string   `yaml:"mac,omitempty" json:"mac,omitempty" doc:"Which card, by its MAC; without it the one that booted."`
	Addresses []string `yaml:"addresses,omitempty" json:"addresses,omitempty" doc:"With prefix lengths: 192.0.2.10/24."`
	Gateway   string   `yaml:"gateway,omitempty" json:"gateway,omitempty"`
	DNS       []string `yaml:"dns,omitempty" json:"dns,omitempty" doc:"Addresses of name servers."`
	DNSSuffix string   `yaml:"dns-suffix,omitempty" json:"dns-suffix,omitempty"`
}

// JoinDomain joins a domain.
type JoinDomain struct {
	Domain `yaml:",inline"`
	Target string `yaml:"target,omitempty" json:"target,omitempty" doc:"The volume of a Windows that was applied and joins at its first start; without it the running one joins."`
}

// EnableBitLocker encrypts.
type EnableBitLocker struct {
	Volume    string `yaml:"volume,omitempty" json:"volume,omitempty" doc:"The volume; without it that of Windows."`
	Protector string `yaml:"protector,omitempty" json:"protector,omitempty" enum:"tpm,tpm-pin,password" doc:"What unlocks it: tpm is the default."`
	PIN       string `yaml:"pin,omitempty" json:"pin,omitempty" doc:"For tpm-pin; give it by a secret variable."`
	Password  string `yaml:"password,omitempty" json:"password,omitempty" doc:"For password; give it by a secret variable."`
	Cipher    string `yaml:"cipher,omitempty" json:"cipher,omitempty" enum:"xts-aes-128,xts-aes-256,aes-cbc-128,aes-cbc-256" doc:"xts-aes-256 is the default."`
	UsedOnly  bool   `yaml:"used-only,omitempty" json:"used-only,omitempty" doc:"Encrypts what is used, which is quicker; right for new disks."`
	Recovery  string `yaml:"recovery,omitempty" json:"recovery,omitempty" enum:"server,directory,none" doc:"Who keeps the recovery key: server (the default) is castpoint's device record, directory is Active Directory."`
	Wait      bool   `yaml:"wait,omitempty" json:"wait,omitempty" doc:"The step ends when all is encrypted."`
}

// SuspendBitLocker suspends the protection.
type SuspendBitLocker struct {
	Volume   string `yaml:"volume,omitempty" json:"volume,omitempty" doc:"The volume; without it that of Windows."`
	Restarts int    `yaml:"restarts,omitempty" json:"restarts,omitempty" doc:"For so many restarts, 1 to 15; 1 without it."`
}
