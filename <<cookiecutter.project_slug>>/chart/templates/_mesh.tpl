{{/*
The row of `behind`, together with what the proxy in the pod adds: it is between the router and the service, and callers
with a proxy of their own do without the router. So the longer time counts, and the pods that answer at the Service's
address are what the proxy knows, not the node: the service does not ask.
*/}}
{{- define "<< cookiecutter.project_slug >>.router" -}}
{{- $rows := .Files.Get "files/behind.yaml" | fromYaml -}}
{{- $router := get $rows .Values.behind -}}
{{- $_ := set $router "keeper" .Values.behind -}}
{{- if .Values.mesh.enabled -}}
#% if cookiecutter.mesh == "istio"
{{- $proxy := $rows.istio -}}
{{- $_ := set $router "trusted" (concat $router.trusted $proxy.trusted | uniq) -}}
#% else
{{- /* The control plane updates proxies at once. A proxy keeps idle connections for 3 (its app/src/env.rs), and
       connects from the pod's own address: it is the peer of which trusted headers come. */ -}}
{{- $proxy := dict "floor" 0 "slack" 2 "fallback" 5 "idle" 3 -}}
{{- if $router.trusted -}}
{{- $_ := set $router "trusted" (concat $router.trusted $rows.traefik.trusted | uniq) -}}
{{- end -}}
#% endif
{{- if gt (int $proxy.idle) (int $router.idle) -}}
{{- $_ := set $router "keeper" "the proxy of the mesh" -}}
{{- end -}}
{{- range $time := list "floor" "slack" "fallback" "idle" -}}
{{- $_ := set $router $time (max (get $router $time | int) (get $proxy $time | int)) -}}
{{- end -}}
{{- $_ := set $router "direct" true -}}
{{- end -}}
{{- toYaml $router -}}
{{- end -}}

{{/*
Annotations for the proxy. Probes and metrics have no certificate, so they go past it; the NetworkPolicy guards their port.

A native sidecar starts before the service and ends after it. For another one the service waits at the start, and it
stays for the longest possible stop: nothing tells it when the service has ended.
*/}}
{{- define "<< cookiecutter.project_slug >>.proxyAnnotations" -}}
{{- if .Values.mesh.enabled }}
{{- $times := include "<< cookiecutter.project_slug >>.times" . | fromYaml }}
#% if cookiecutter.mesh == "istio"
sidecar.istio.io/nativeSidecar: {{ .Values.mesh.nativeSidecar | quote }}
{{- if not .Values.mesh.nativeSidecar }}
{{- $stop := printf "%ds" ($times.stopped | ceil | int) }}
proxy.istio.io/config: {{ dict "holdApplicationUntilProxyStarts" true "drainDuration" $stop "terminationDrainDuration" $stop | toJson | quote }}
{{- end }}
sidecar.istio.io/rewriteAppHTTPProbers: "false"
traffic.sidecar.istio.io/excludeInboundPorts: {{ .Values.listen.managementPort | quote }}
{{- with .Values.mesh.apiServer }}
traffic.sidecar.istio.io/excludeOutboundIPRanges: {{ join "," . | quote }}
{{- end }}
#% else
config.linkerd.io/proxy-enable-native-sidecar: {{ .Values.mesh.nativeSidecar | quote }}
{{- if not .Values.mesh.nativeSidecar }}
config.linkerd.io/proxy-await: enabled
config.alpha.linkerd.io/proxy-wait-before-exit-seconds: {{ $times.stopped | ceil | int | quote }}
{{- end }}
# The rest of the grace period, for connections that are still open then.
config.linkerd.io/shutdown-grace-period: {{ printf "%dms" (mulf $times.margin 1000 | int) }}
config.linkerd.io/skip-inbound-ports: {{ .Values.listen.managementPort | quote }}
{{- with .Values.mesh.apiServer }}
config.linkerd.io/skip-subnets: {{ join "," . | quote }}
{{- end }}
#% endif
{{- end }}
{{- end -}}
