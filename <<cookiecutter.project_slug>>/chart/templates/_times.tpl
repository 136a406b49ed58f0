{{/*
Every time of a stop, in seconds: what is typed under `shutdown:`, where that is null the row of
files/behind.yaml, and what follows from both. Times are added up here and nowhere else.

`farewell` is what the service gives streams after their turn, to say goodbye and to return.
*/}}
{{- define "<< cookiecutter.project_slug >>.times" -}}
{{- $typed := .Values.shutdown -}}
{{- $router := get (.Files.Get "files/behind.yaml" | fromYaml) .Values.behind -}}
{{- $floor := ternary $router.floor $typed.floorSeconds (kindIs "invalid" $typed.floorSeconds) -}}
{{- $slack := ternary $router.slack $typed.slackSeconds (kindIs "invalid" $typed.slackSeconds) -}}
{{- $fallback := ternary $router.fallback $typed.fallbackSeconds (kindIs "invalid" $typed.fallbackSeconds) -}}
{{- $limit := ternary (addf (maxf $floor $fallback) 13) $typed.limitSeconds (kindIs "invalid" $typed.limitSeconds) -}}
{{- $farewell := 2 -}}
{{- $told := addf $limit $typed.streamSpreadSeconds $farewell -}}
{{- $stopped := addf $told $typed.stopSeconds -}}
floor: {{ $floor }}
slack: {{ $slack }}
fallback: {{ $fallback }}
quiet: {{ $typed.quietSeconds }}
limit: {{ $limit }}
streamSpread: {{ $typed.streamSpreadSeconds }}
farewell: {{ $farewell }}
stop: {{ $typed.stopSeconds }}
margin: {{ $typed.marginSeconds }}
told: {{ $told }}
stopped: {{ $stopped }}
grace: {{ addf $stopped $typed.marginSeconds | ceil | int }}
idle: {{ $router.idle }}
direct: {{ $router.direct }}
keepAlive: {{ .Values.keepAliveSeconds | default (add $router.idle 15) }}
{{- end -}}

{{/*
What the service believes of the client, from whom: what is typed under `proxy:`, where that is null the row
of files/behind.yaml. With commas between, as the service takes it.
*/}}
{{- define "<< cookiecutter.project_slug >>.proxy" -}}
{{- $typed := .Values.proxy -}}
{{- $router := get (.Files.Get "files/behind.yaml" | fromYaml) .Values.behind -}}
trusted: {{ ternary $router.trusted $typed.trusted (kindIs "invalid" $typed.trusted) | join "," | quote }}
headers: {{ ternary $router.headers $typed.headers (kindIs "invalid" $typed.headers) | join "," | quote }}
rootPath: {{ $typed.rootPath | quote }}
{{- end -}}
