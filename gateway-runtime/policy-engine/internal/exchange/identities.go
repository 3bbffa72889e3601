package exchange

import "sync"

// maxMethods bounds the methods of identities that are counted separately for each API. Further ones are OtherMethod.
const maxMethods = 16

// OtherMethod stands for the methods beyond the bound, and for identities without a method.
const OtherMethod = "other"

// IdentityCount is the number of an API's exchanges whose caller was identified by a method.
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

// Identities are the counts of exchanges with an identity, in no particular order.
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
