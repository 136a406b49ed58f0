{{/*
Every time of a stop, in seconds: the values under `shutdown`, or the row of files/behind.yaml where they are
null, and their sums. Times are added up only here.

`timeout` is the time until a response must have started, a second before the router would give up.

`farewell` is the time for streams to send a last message and return after their turn.
*/}}
{{- define "<< cookiecutter.project_slug >>.times" -}}
{{- $typed := .Values.shutdown -}}
#% if cookiecutter.mesh == "none"
{{- $router := get (.Files.Get "files/behind.yaml" | fromYaml) .Values.behind -}}
#% else
{{- $router := include "<< cookiecutter.project_slug >>.router" . | fromYaml -}}
#% endif
{{- $floor := ternary $router.floor $typed.floorSeconds (kindIs "invalid" $typed.floorSeconds) -}}
{{- $slack := ternary $router.slack $typed.slackSeconds (kindIs "invalid" $typed.slackSeconds) -}}
{{- $fallback := ternary $router.fallback $typed.fallbackSeconds (kindIs "invalid" $typed.fallbackSeconds) -}}
#% if cookiecutter.service_registry == "none"
{{- $limit := ternary (addf (maxf $floor $fallback) 13) $typed.limitSeconds (kindIs "invalid" $typed.limitSeconds) -}}
#% else
{{- $removed := ternary (addf .Values.registry.deregisterSeconds .Values.registry.readersSeconds) 0.0 (ne .Values.registry.url "") -}}
{{- $limit := ternary (addf (maxf $floor $fallback $removed) 13) $typed.limitSeconds (kindIs "invalid" $typed.limitSeconds) -}}
#% endif
{{- $requests := .Values.requests -}}
{{- $proxyTimeout := ternary $router.timeout $requests.proxyTimeoutSeconds (kindIs "invalid" $requests.proxyTimeoutSeconds) -}}
{{- $within := ternary (minf $limit (maxf 0.5 (subf $proxyTimeout 1))) $limit (gt (float64 $proxyTimeout) 0.0) -}}
{{- $timeout := ternary $within $requests.timeoutSeconds (kindIs "invalid" $requests.timeoutSeconds) -}}
{{- $farewell := 2 -}}
{{- $streamsEnded := addf $limit $typed.streamSpreadSeconds $farewell -}}
{{- $stopped := addf $streamsEnded $typed.stopSeconds -}}
floor: {{ $floor }}
slack: {{ $slack }}
fallback: {{ $fallback }}
#% if cookiecutter.service_registry != "none"
removed: {{ $removed }}
#% endif
quiet: {{ $typed.quietSeconds }}
limit: {{ $limit }}
streamSpread: {{ $typed.streamSpreadSeconds }}
farewell: {{ $farewell }}
stop: {{ $typed.stopSeconds }}
margin: {{ $typed.marginSeconds }}
streamsEnded: {{ $streamsEnded }}
stopped: {{ $stopped }}
grace: {{ addf $stopped $typed.marginSeconds | ceil | int }}
idle: {{ $router.idle }}
#% if cookiecutter.mesh == "none"
keeper: {{ .Values.behind }}
#% else
keeper: {{ $router.keeper }}
#% endif
proxyTimeout: {{ $proxyTimeout }}
timeout: {{ $timeout }}
direct: {{ $router.direct }}
keepAlive: {{ .Values.keepAliveSeconds | default (add $router.idle 15) }}
{{- end -}}

{{/*
Which proxies and headers are trusted: the values under `proxy`, or the row of files/behind.yaml where they are
null. Separated by commas, as the service expects.
*/}}
{{- define "<< cookiecutter.project_slug >>.proxy" -}}
{{- $typed := .Values.proxy -}}
#% if cookiecutter.mesh == "none"
{{- $router := get (.Files.Get "files/behind.yaml" | fromYaml) .Values.behind -}}
#% else
{{- $router := include "<< cookiecutter.project_slug >>.router" . | fromYaml -}}
#% endif
trusted: {{ ternary $router.trusted $typed.trusted (kindIs "invalid" $typed.trusted) | join "," | quote }}
headers: {{ ternary $router.headers $typed.headers (kindIs "invalid" $typed.headers) | join "," | quote }}
rootPath: {{ $typed.rootPath | quote }}
{{- end -}}
