package agent

import _ "nixfleet/controlplane/store"
