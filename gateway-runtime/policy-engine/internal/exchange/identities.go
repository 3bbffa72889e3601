package exchange

import "sync"

// maxMethods bounds the methods of identities that are counted apart for each API. What comes beyond is OtherMethod.
const maxMethods = 16

// OtherMethod is that of identities whose methods do not fit the bound, and of those that name none.
const OtherMethod = "other"

// IdentityCount is how many exchanges of an API had an identity that was found by a method.
type IdentityCount struct {
	API, Method string
	Exchanges   uint64
}

// identities counts exchanges by API and method.
type identities struct {
	mutex sync.Mutex
	apis  map[string]map[string]uint64
}

func (i *identities) add(api, method string) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	if i.apis == nil {
		i.apis = map[string]map[string]uint64{}
	}
	methods := i.apis[api]
	if methods == nil {
		methods = map[string]uint64{}
		i.apis[api] = methods
	}
	if _, known := methods[method]; method == "" || !known && len(methods) >= maxMethods {
		method = OtherMethod
	}
	methods[method]++
}

func (i *identities) remove(api string) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	delete(i.apis, api)
}

// Identities are the counts of exchanges with an identity, in no order.
func (c *Counters) Identities() (all []IdentityCount) {
	c.identities.mutex.Lock()
	defer c.identities.mutex.Unlock()
	for api, methods := range c.identities.apis {
		for method, count := range methods {
			all = append(all, IdentityCount{api, method, count})
		}
	}
	return all
}
